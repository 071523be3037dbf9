"""This machine as a target: runs are folders of the workspace, each with a process that keeps a record of itself."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from elboflow.artifacts import child
from elboflow.settings import RequestError, WorkError
from elboflow.settings.variables import NEW_RUN
from pipelines.targets import ENDED, Job, RunState, require_failed
from pipelines.targets.local.record import Record, read, state
from pipelines.targets.local.screen import LOG
from pipelines.workspace import Workspace

OUTPUT = "output.log"
"""What a detached run prints, in its folder."""

LONG_AGO = datetime.min.replace(tzinfo=UTC)

PATIENCE = 60.0
"""Seconds that a detached run has for reading its experiment, and a cancelled one for ending."""


def new_name(experiment: str) -> str:
    """Returns the name of a run that begins now, here."""
    return f"{experiment}-{datetime.now():%Y-%m-%d-%H-%M-%S-%f}"


class LocalClient:
    """The runs of this machine. With the schedules of a workspace, it is the target `local`.

    Args:
        workspace: Where its runs are.
    """

    name = "local"

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def submit(self, job: Job) -> RunState:
        """Starts a run as a process of its own, which goes on when this one ends.

        Raises:
            RequestError: The run refused its experiment. Nothing is left of it.
            WorkError: It ended before it began.
        """
        arguments = dict(job.arguments)
        experiment = arguments.pop("experiment", None)
        if experiment is None:
            raise RequestError("a run on this machine starts from an experiment, and the job holds none")
        run = new_name(job.name)
        self._folder(run).mkdir(parents=True, exist_ok=True)
        with _nameless(json.dumps(experiment)) as source:
            words = ["run", f"/dev/fd/{source.fileno()}"]  # JSON is YAML
            words += ["--if-changed"] if arguments.get("if_changed") else []
            process = self._started(run, words, source.fileno())
        return self._begun(process, self._folder(run), job.name)

    def run(self, id: str) -> RunState:
        """Returns a run."""
        return self._record(id).state(self._folder(id))

    def runs(self, limit: int = 20) -> list[RunState]:
        """Returns the latest runs, the newest first."""
        folders = self.workspace.runs.iterdir() if self.workspace.runs.is_dir() else ()
        found = [run for folder in folders if (run := state(folder)) is not None]
        return sorted(found, key=lambda run: run.created or LONG_AGO, reverse=True)[:limit]

    def logs(self, id: str, step: str | None = None) -> Iterator[str]:
        """Yields the lines of a run's log, or of one step's: all that its processes printed."""
        record = self._record(id)
        logs = {name: path for name in record.planned if (path := self._folder(id) / name / LOG).is_file()}
        if step is not None and step not in logs:
            if taken := next(
                (each.reason for each in record.steps if each.name == step and each.status == "succeeded"), None
            ):
                raise RequestError(f"the run {id} has no log of {step}, which it has not run itself: {taken}")
            begun = ", ".join(logs) or "none"
            raise RequestError(f"the run {id} has no step {step!r} that has begun; those that have: {begun}")
        if not logs:
            with suppress(FileNotFoundError):
                yield from _lines(self._folder(id) / OUTPUT)
        for name, path in logs.items():
            if step in (None, name):
                for line in _lines(path):
                    yield line if step is not None else f"{name}: {line}"

    def cancel(self, id: str) -> None:
        """Ends a run and waits until it has ended; without effect on one that has.

        Raises:
            WorkError: Its process does not end.
        """
        record = self._record(id)
        if record.state(self._folder(id)).status in ENDED:
            return
        if not record.process.alive():
            raise WorkError(f"the run {id} is at work in another container or on another machine; cancel it there")
        if not record.process.end(PATIENCE):
            raise WorkError(
                f"the run {id} does not end on SIGTERM; look at its process, {record.process.id}, or end it: "
                f"kill -9 {record.process.id}"
            )

    def retry(self, id: str) -> RunState:
        """Repeats a run from the step that failed, in a new process, which outlives this one."""
        failed = self.run(id)
        require_failed(failed)
        return self._begun(self._started(id, ["runs", "retry", id]), self._folder(id), failed.experiment)

    def _started(self, run: str, words: list[str], *descriptors: int) -> "subprocess.Popen[bytes]":
        """Starts the process of a run, with a command and the open files that it reads."""
        with open(self._folder(run) / OUTPUT, "wb") as output:
            return subprocess.Popen(
                child.command("pipelines", *words, "--workspace", str(self.workspace.folder), "--json"),
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, NEW_RUN: run},
            )

    def _folder(self, id: str) -> Path:
        return self.workspace.runs / id

    def _record(self, id: str) -> Record:
        record = read(self._folder(id)) if Path(id).name == id else None
        if record is None:
            raise RequestError(
                f"there is no run {id!r} in {self.workspace.folder}; `elboflow runs` lists those there are"
            )
        return record

    def _begun(self, process: "subprocess.Popen[bytes]", folder: Path, experiment: str) -> RunState:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if (record := read(folder)) is not None and record.process.id == process.pid:
                return record.state(folder)
            if process.poll() is not None:
                return _ended_early(process.returncode, folder, experiment)
            time.sleep(0.05)
        return RunState(folder.name, experiment, "local", "pending", created=datetime.now(UTC), link=str(folder))


def _ended_early(code: int, folder: Path, experiment: str) -> RunState:
    """Returns what a run that ended before it began had to say: that it was not needed, or what was wrong."""
    lines = list(_lines(folder / OUTPUT))
    (folder / OUTPUT).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
    if code == 0:
        said: dict[str, Any] = json.loads(lines[-1])
        return RunState("", experiment, "local", said["status"], reason=said["reason"])
    told = "\n".join(lines).partition("error: ")[2] or "\n".join(lines[-5:]) or f"it ended with exit code {code}"
    raise RequestError(told) if code == RequestError.exit_code else WorkError(told)


@contextmanager
def _nameless(text: str) -> Iterator[IO[bytes]]:
    """Yields an open file that holds a text and has no name: what is secret in it stands in no folder."""
    in_memory = hasattr(os, "memfd_create")  # not on macOS
    with os.fdopen(os.memfd_create("experiment"), "w+b") if in_memory else tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.seek(0)  # which also writes what is buffered
        yield file


def _lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            yield line.rstrip("\n")
