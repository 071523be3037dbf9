"""The steps of a graph on this machine: one after the other, each in a process or a container.

A step's process runs what its pod would run: KFP's executor, on the source of the component.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from elboflow.artifacts import child
from elboflow.settings import RequestError, WorkError
from elboflow.settings.variables import STEP_SECONDS
from pipelines.experiment.machines import LocalStep
from pipelines.graphs import Task
from pipelines.targets import StepState
from pipelines.targets.local import artifacts
from pipelines.targets.local.artifacts import Artifact
from pipelines.targets.local.screen import LOG, Log, Screen

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

LAST_WORDS = 15
"""Lines of a step's log that are shown where it failed without an error of ours."""
PATIENCE = 10.0
"""Seconds that a step has to end after a SIGTERM: a training saves its state."""


class StepError(WorkError):
    """A step of a run failed."""

    def __init__(self, run: str, step: str, reason: str) -> None:
        super().__init__(f"{step} failed: {reason}")
        self.run, self.step, self.reason = run, step, reason


class DoneError(Exception):
    """The last step that was asked for has ended."""


class Started(Protocol):
    """A step at work."""

    def lines(self) -> Iterator[str]:
        """Yields what it prints, until it has ended."""

    def wait(self) -> int:
        """Returns its exit code."""

    def end(self) -> None:
        """Ends it, and all processes that it started."""


Start = Callable[["BaseComponent", Mapping[str, Any]], Started]
"""Starts a step with an `ExecutorInput`."""


@dataclass(frozen=True)
class Ended:
    """A step that has succeeded: a task of a graph."""

    outputs: Mapping[str, Any]


@dataclass
class Runner:
    """Runs steps as a graph takes them (`pipelines.graphs.Take`).

    Attributes:
        run: The run's name.
        folder: The run's folder, below which each step has its own.
        screen: Where the run shows itself.
        settings: What each step gets.
        start: Starts a step.
        moved: Called with the states of the steps whenever one begins or ends.
        kept: The artifacts of steps of an earlier run, which are not run again.
        until: The last step to run; None for all.
        artifacts: The artifacts of all steps that have succeeded, by name.
        seconds: Wall time of each step that was run.
        started: When it was made, by the monotonic clock.
    """

    run: str
    folder: Path
    screen: Screen
    settings: Callable[[str], LocalStep]
    start: Start
    moved: Callable[[Sequence[StepState]], None]
    kept: Mapping[str, Mapping[str, Artifact]] = field(default_factory=dict)
    until: str | None = None
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    _states: list[StepState] = field(default_factory=list)

    def take(self, step: "BaseComponent", *, cached: bool = True, after: Sequence[Task] = (), **inputs: Any) -> Task:
        """Runs a step to its end. What it depends on has ended before; nothing is cached but what was `kept`.

        Raises:
            StepError: It failed.
            DoneError: It was the last step to run.
        """
        name, now = step.name, datetime.now(UTC)
        if name in self.kept:
            outputs: Mapping[str, Any] = self.kept[name]
            artifacts.keep(self.folder / name, self.kept[name])  # for a repetition of this run
            self._states.append(StepState(name, "succeeded", started=now, ended=now, reason="of an earlier run"))
        else:
            self._states.append(StepState(name, "running", started=now))
            self.moved(self._states)
            os.environ[STEP_SECONDS] = json.dumps(self.seconds)
            self.screen.begin(name)
            given = artifacts.executor_input(step, inputs, self.folder / name)
            settings, tries, started = self.settings(name), 0, time.monotonic()
            while failure := self._run(step, given, settings.timeout_minutes):
                tries += 1
                # After a wrong request, another try would end with the same words.
                if failure.is_refusal or tries > settings.retry.attempts:
                    raise StepError(self.run, name, failure.reason)
                wait = settings.retry.wait_seconds * settings.retry.factor ** (tries - 1)
                self.screen.say(f"{failure.reason}; try {tries + 1} of {settings.retry.attempts + 1} in {wait:g} s")
                time.sleep(wait)
            outputs = artifacts.read(step, self.folder / name)
            self.seconds[name] = round(time.monotonic() - started, 1)
            self.screen.end()
            self.screen.say(f"{self.seconds[name]} s")
            self._states[-1] = replace(self._states[-1], status="succeeded", ended=datetime.now(UTC))
        self.moved(self._states)
        self.artifacts |= {key: value for key, value in outputs.items() if isinstance(value, Artifact)}
        if name == self.until:
            raise DoneError
        return Ended(outputs)

    def _run(self, step: "BaseComponent", given: Mapping[str, Any], minutes: int | None) -> "Failure | None":
        """Runs a step once, and returns how it failed; None where it succeeded."""
        with Log(self.folder / step.name / LOG) as log:
            try:
                process = self.start(step, given)
            except WorkError as error:
                return Failure(str(error))
            late = threading.Event()

            def time_out() -> None:
                late.set()
                process.end()

            timer = threading.Timer(60 * (minutes or 0), time_out)
            timer.daemon = True
            if minutes is not None:
                timer.start()
            try:
                for line in process.lines():
                    self.screen.take(line, log)
                code = process.wait()
            except BaseException:
                process.end()
                raise
            finally:
                timer.cancel()
        if late.is_set():
            return Failure(f"its {minutes} minutes are over (targets.local.steps.{step.name}.timeout_minutes)")
        return Failure(_reason(log, code), code == RequestError.exit_code) if code else None


@dataclass(frozen=True)
class Failure:
    """A try of a step that failed.

    Attributes:
        reason: Why.
        is_refusal: Whether the request was wrong.
    """

    reason: str
    is_refusal: bool = False


def _reason(log: Log, code: int) -> str:
    """Returns why a step failed: what it said of it, or else what its log shows."""
    if log.errors:
        return "\n".join(log.errors)
    lines = [line for line in log.last if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        return "\n".join([*lines[-LAST_WORDS:], f"(unexpected; everything it printed is in {log.path})"])
    return f"{child.death(code)}; its log is {log.path}"


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
