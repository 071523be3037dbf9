"""What KFP's local runner does otherwise for our runs: their names, and how the output of steps is read and kept."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

OUTPUT = "executor_output.json"
"""KFP's file in the folder of a step: its output parameters, as they are, such as the experiment that a sweep chose."""


@contextmanager
def named(run: str) -> Iterator[None]:
    """Gives KFP the name that the run has had since it began; KFP would make another one."""
    from kfp.local import executor_input_utils as kfp

    before = kfp.get_local_pipeline_resource_name
    kfp.get_local_pipeline_resource_name = lambda _: run
    try:
        yield
    finally:
        kfp.get_local_pipeline_resource_name = before


@contextmanager
def any_bytes() -> Iterator[None]:
    """Lets KFP read any bytes that steps print; a file name that is not UTF-8 would end the run otherwise."""
    from kfp.local import subprocess_task_handler as kfp

    before = kfp.subprocess
    tolerant = partial(subprocess.Popen, encoding="utf-8", errors="backslashreplace")
    kfp.subprocess = SimpleNamespace(Popen=tolerant, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT)
    try:
        yield
    finally:
        kfp.subprocess = before


@contextmanager
def outputs_read_once() -> Iterator[None]:
    """Lets KFP read what a step returns, and removes the file then: what is secret in it does not stay in the run."""
    from kfp.local import executor_output_utils as kfp

    before = kfp.load_executor_output

    def load(executor_output_path: str) -> Any:
        try:
            return before(executor_output_path)
        finally:
            _remove(Path(executor_output_path))

    kfp.load_executor_output = load
    try:
        yield
    finally:
        kfp.load_executor_output = before


def remove_outputs(run: Path) -> None:
    """Removes from a run's folder what its steps returned and KFP did not come to read."""
    with suppress(OSError):
        for path in list(run.rglob(OUTPUT)):
            _remove(path)


def _remove(path: Path) -> None:
    with suppress(OSError):  # a workspace that cannot be written to is no reason to stop a run
        path.unlink()
