"""The steps of a graph on this machine: one after the other, each in a process or a container.

A step's process runs what its pod would run: KFP's executor, on the source of the component.
"""

import json
import os
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
from pipelines.targets.local.cache import Cache, maker
from pipelines.targets.local.screen import LOG, Log, Screen
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

LAST_WORDS = 15
"""Lines of a step's log that are shown where it failed without an error of ours."""


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
        folder: The run's folder, `runs/RUN` of a workspace, below which each step has its own.
        screen: Where the run shows itself.
        settings: What each step gets.
        start: Starts a step.
        moved: Called with the states of the steps whenever one begins or ends.
        kept: The artifacts of steps of an earlier run, which are not run again.
        cache: The earlier runs whose steps may serve again; None for none.
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
    cache: Cache | None = None
    until: str | None = None
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    _states: list[StepState] = field(default_factory=list)

    def take(self, step: "BaseComponent", *, cached: bool = True, after: Sequence[Task] = (), **inputs: Any) -> Task:
        """Runs a step to its end, or takes what an earlier run made. What it depends on has ended before.

        Raises:
            StepError: It failed.
            DoneError: It was the last step to run.
        """
        name = step.name
        key = self.cache.key(name, inputs) if cached and self.cache is not None and name not in self.kept else None
        outputs: Mapping[str, Any] | None = self._of_an_earlier_run(step, key)
        if outputs is None:
            outputs = self._made(step, inputs)
            if key is not None and self.cache is not None:
                self.cache.keep(step, self.folder / name, key)
        self.moved(self._states)
        self.artifacts |= {key: value for key, value in outputs.items() if isinstance(value, Artifact)}
        if name == self.until:
            raise DoneError
        return Ended(outputs)

    def _of_an_earlier_run(self, step: "BaseComponent", key: str | None) -> Mapping[str, Artifact] | None:
        """Returns the outputs of the step of an earlier run, which are this run's from now on; None without one."""
        name = step.name
        if name in self.kept:
            if not self._takes_over(name, self.kept[name], "of an earlier run"):
                raise StepError(self.run, name, "what the earlier run made has been removed; begin with this step")
            return self.kept[name]
        found = None if key is None or self.cache is None else self.cache.find(step, key)
        if found is None or not self._takes_over(name, found.outputs, f"cached from {found.run}"):
            return None
        self.screen.begin(name)
        self.screen.end()
        self.screen.say(f"cached from {found.run}")
        return found.outputs

    def _takes_over(self, name: str, outputs: Mapping[str, Artifact], reason: str) -> bool:
        """Makes the outputs of a step those of this run; returns False where `elboflow clean` has taken them.

        It takes none that a run says it reads, and runs say so while it waits.
        """
        with Workspace(self.folder.parents[1]).beginning():
            if not all(Path(artifact.uri).exists() for artifact in outputs.values()):
                return False
            artifacts.keep(self.folder / name, outputs)  # also for a repetition of this run
        now = datetime.now(UTC)
        self._states.append(StepState(name, "succeeded", started=now, ended=now, reason=reason))
        return True

    def _made(self, step: "BaseComponent", inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Runs a step, again where it fails and may be tried again, and returns its outputs."""
        name = step.name
        self._states.append(StepState(name, "running", started=datetime.now(UTC)))
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
        reason = maker(self.folder.parent, name, outputs)
        self.screen.end()
        self.screen.say(", ".join([*([reason] if reason else []), f"{self.seconds[name]} s"]))
        self._states[-1] = replace(self._states[-1], status="succeeded", ended=datetime.now(UTC), reason=reason)
        return outputs

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
