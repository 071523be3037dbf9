"""Runs at work: each in a process of its own, followed by its reports and ended on request.

The processes are forked from one that has imported kfp, which takes longer than most rehearsals.
"""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from elboflow.testing.platforms.clock import now
from elboflow.testing.platforms.jobs import SubmittedRun

ROOT = Path(__file__).parents[3]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["kfp.local", "elboflow.testing.platforms.engine"])
State = Literal["pending", "running", "succeeded", "failed", "cancelled"]
Kind = Literal["step", "part"]


@dataclass
class Step:
    """A step that has begun, or a part of the graph that holds several.

    Attributes:
        number: From 1, in the order of their beginnings.
        name: In the specification.
        path: Its name, behind those of the parts that it is in.
        kind: step or part.
        parent: The number of the part that it belongs to.
        state: running, succeeded, failed or cancelled.
        log: The file of what it prints.
        outputs: Parameters as values, artifacts as {"artifact": {name, uri, schema, metadata}}.
        attempts: How often it was started; 0 for one that is kept of an earlier try of the run.
    """

    number: int
    name: str
    path: str
    kind: Kind
    parent: int | None
    log: Path
    state: State = "running"
    started: datetime = field(default_factory=now)
    ended: datetime | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0


class Execution:
    """A run at work.

    Attributes:
        run: What is executed.
        state: pending, running, succeeded, failed or cancelled.
        steps: Those that have begun.
        created, started, ended: Times in UTC.

    Args:
        run: What is to be executed.
        ended: Called when it has ended.
        kept: Steps of an earlier try, which are not executed again.
    """

    def __init__(
        self, run: SubmittedRun, ended: Callable[["Execution"], None] | None = None, kept: Sequence[Step] = ()
    ) -> None:
        self._kept = {step.path: step for step in kept}
        self.run = run = replace(run, kept={step.path: step.outputs for step in kept})
        self.state: State = "pending"
        self.steps: dict[int, Step] = {}
        self.created = now()
        self.started: datetime | None = None
        self.ended: datetime | None = None
        self._then = ended
        self._lock = threading.Lock()
        job = Path(run.folder) / "job.json"
        job.parent.mkdir(parents=True)
        job.write_text(json.dumps(asdict(run)), encoding="utf-8")
        self._events, events = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=_execute, args=(job, events, dict(os.environ)), daemon=True)
        self._process.start()
        events.close()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def succeeded(self) -> list[Step]:
        """The steps that succeeded, without the parts."""
        return [step for step in self.steps.values() if step.state == "succeeded" and step.kind == "step"]

    @property
    def failed(self) -> list[Step]:
        """The steps that failed, without the parts that failed with them."""
        return [step for step in self.steps.values() if step.state == "failed" and step.kind == "step"]

    def cancel(self) -> None:
        """Ends the run and all its processes."""
        with self._lock:
            if self.ended is not None:
                return
            self._end("cancelled")
        self._kill()

    def close(self) -> None:
        """Ends the run as `cancel` does, and waits for its process."""
        self.cancel()
        self._process.join()

    def _kill(self) -> None:
        assert self._process.pid is not None
        with suppress(ProcessLookupError):
            self._process.kill()  # before it has a process group of its own
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _listen(self) -> None:
        succeeded = False
        for event in iter(self._received, None):
            with self._lock:
                if self.ended is not None:
                    continue
                if event["event"] == "started":
                    self.state, self.started = "running", now()
                elif event["event"] == "began":
                    self.steps[event["number"]] = Step(
                        event["number"],
                        event["name"],
                        event["path"],
                        event["kind"],
                        event["parent"],
                        Path(event["log"]),
                    )
                elif event["event"] == "kept":
                    self.steps[event["number"]] = replace(
                        self._kept[event["path"]], number=event["number"], parent=event["parent"], attempts=0
                    )
                elif event["event"] == "ended":
                    step = self.steps[event["number"]]
                    step.state = "succeeded" if event["succeeded"] else "failed"
                    step.ended, step.outputs, step.attempts = now(), event["outputs"], event["attempts"]
                else:
                    succeeded = event["succeeded"]
        self._process.join()
        self._kill()  # what a step left behind
        with self._lock:
            if self.ended is None:
                self._end("succeeded" if succeeded else "failed")
        if self._then is not None:
            self._then(self)

    def _received(self) -> Any:
        """Returns the next event; None after the last, also where the process was killed."""
        try:
            return self._events.recv()
        except (EOFError, OSError):
            return None

    def _end(self, state: State) -> None:
        self.state, self.ended = state, now()
        for step in self.steps.values():
            if step.ended is None:
                step.state, step.ended = ("cancelled" if state == "cancelled" else "failed"), self.ended


def _execute(job: Path, events: Connection, environment: dict[str, str]) -> None:
    """Executes a run, in a process group of its own."""
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    from elboflow.testing.platforms import engine

    engine.main(job, events)
