"""KFP's executor of a step in a process of this machine."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elboflow.artifacts import child

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

PATIENCE = 10.0
"""Seconds that a step has to end after a SIGTERM: a training saves its state."""


class StepProcess:
    """A step as a process of this Python, and the leader of a group of processes."""

    def __init__(self, step: "BaseComponent", given: Mapping[str, Any], scratch: Path) -> None:
        *_, source = step.component_spec.implementation.container.command  # of a function, for KFP's executor
        module = scratch / f"{step.name.replace('-', '_')}.py"
        module.write_text(source, encoding="utf-8")
        words = ["--component_module_path", str(module), *arguments(step, given)]
        self._process = subprocess.Popen(
            child.command("kfp.dsl.executor_main", *words),
            env=child.environment(_KFP_RUNTIME="true"),  # KFP then imports no more than its executor
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
            process_group=0,
        )

    def lines(self) -> Iterator[str]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line.rstrip("\n")

    def wait(self) -> int:
        return self._process.wait()

    def end(self) -> None:
        child.end_group(self._process, PATIENCE)


def arguments(step: "BaseComponent", given: Mapping[str, Any]) -> list[str]:
    """Returns the arguments of KFP's executor."""
    filled = {"{{$}}": json.dumps(given)}
    return [filled.get(argument, argument) for argument in step.component_spec.implementation.container.args]
