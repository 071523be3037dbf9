"""What KFP's local runner does otherwise for our runs: the name of a run, and how the output of steps is read."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace


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
