"""A step of a run of this machine that failed: what it was given, what it printed last, and how to repeat it alone."""

from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.surroundings.masking import MASK, masked
from pipelines.graphs.training import TRAINING
from pipelines.step_process import messages
from pipelines.targets.local import artifacts
from pipelines.targets.local.record import EXPERIMENT, Record, read
from pipelines.targets.local.screen import LOG
from pipelines.targets.recorded_step import READS
from pipelines.workspace import Workspace

LAST_LINES = 20
BY_HAND = "by-hand"
"""The folder, beside what the step was to make, for what it makes when it is repeated alone."""


@dataclass(frozen=True)
class FailedStep:
    """A step that failed.

    Attributes:
        inputs: The folders that it read, by name.
        settings: The file with the experiment as it ran.
        log: The file with everything that it printed.
        last_lines: The end of that file, at most LAST_LINES lines without those of KFP's executor.
        directory: The working directory of the run, where relative paths of the experiment begin; None if unknown.
        repeat: The words of the command that repeats it, after the program's name; empty for a step that no command
            runs alone.
        lacks_secret: Whether the settings held a secret, which is not kept: it has to be put back before.
    """

    run: str
    step: str
    inputs: Mapping[str, str]
    settings: str
    log: str
    last_lines: tuple[str, ...]
    directory: str | None
    repeat: tuple[str, ...]
    lacks_secret: bool


def failed_step(workspace: Workspace, run: str) -> FailedStep | None:
    """Returns the step of a run that failed; None where the run has not failed, or failed in none of its steps."""
    folder = workspace.runs / run
    record = read(folder)
    if record is None or record.state(folder).status != "failed":
        return None
    step = next((step.name for step in record.state(folder).steps if step.status == "failed"), None)
    if step is None:
        return None
    made = artifacts.of_run(folder)
    inputs = {name: made[name].uri for name in READS.get(step, ()) if name in made}
    return FailedStep(
        run=run,
        step=step,
        inputs=inputs,
        settings=str(folder / EXPERIMENT),
        log=str(folder / step / LOG),
        last_lines=_last_lines(folder / step / LOG),
        directory=record.directory,
        repeat=_words(workspace, record, step, inputs),
        lacks_secret=MASK in _text(folder / EXPERIMENT),
    )


def _words(workspace: Workspace, record: Record, step: str, inputs: Mapping[str, str]) -> tuple[str, ...]:
    # The model that a sweep evaluates and registers is of the settings of its best trial, not of its experiment's.
    if step not in (TRAINING.steps if record.planned == TRAINING.steps[: len(record.planned)] else ("preprocess",)):
        return ()
    if len(inputs) < len(READS[step]):
        return ()
    folder = workspace.runs / record.run
    words = ["step", step, str(folder / EXPERIMENT)]
    for name, path in inputs.items():
        words += [f"--{name}", path]
    if step != "register":
        return (*words, "--output", str(folder / step / BY_HAND))
    tracking_uri = record.tracking_uri or workspace.tracking_uri
    return (*words, "--run", record.run, "--workspace", str(workspace.folder), "--tracking-uri", tracking_uri)


def values(failed: FailedStep, command: str) -> dict[str, Any]:
    """Returns what failed as JSON values, without secrets.

    Args:
        command: The command that repeats it, as it can be pasted.
    """
    return {
        "step": failed.step,
        "inputs": dict(failed.inputs),
        "settings": failed.settings,
        "log": failed.log,
        "last_lines": list(failed.last_lines),
        "command": masked(command) or None,
    }


def last_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """Returns the end of a log, at most LAST_LINES lines, without those of KFP's executor and without secrets."""
    told = (line for line in messages.without_executor(line.rstrip("\n") for line in lines) if line.strip())
    return tuple(deque((masked(line.replace(messages.MARK, "", 1)) for line in told), LAST_LINES))


def _last_lines(log: Path) -> tuple[str, ...]:
    with suppress(OSError), open(log, encoding="utf-8", errors="replace") as file:
        return last_lines(file)
    return ()


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8")
    return ""
