"""What a local run says of itself while it is at work: `run.json` in its folder."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import MAXYEAR, UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.surroundings.masking import masked
from components.tracking.liveness import GONE as GONE
from components.tracking.liveness import last_sign
from elboflow.artifacts import DamagedError, lock, read_json, write_atomically
from pipelines.targets import ENDED, RunState, Status, StepState
from pipelines.targets.local.process import ProcessIdentity
from pipelines.targets.tasks import in_order

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FILE = "run.json"
LOCK = "at-work.lock"
"""Is locked, beside that file, by the process of a run that is at work: every container of the machine sees that."""
EXPERIMENT = "experiment.json"
"""The experiment as it runs, beside that file; MLflow is told of it when a run is found dead."""
EARLIEST_YEAR = 1970
"""Where the clocks of machines begin."""
STEPS = ("preprocess", "train", "evaluate", "register")


@dataclass(frozen=True)
class Record:
    """A local run, as it was when it last wrote something down. Times are in UTC.

    Attributes:
        run: Its name.
        experiment: The experiment's name.
        process: The process that is the run.
        status: Its status.
        created: When it began.
        ended: When it ended.
        steps: Those that have begun.
        reason: Why it failed, or was cancelled.
        planned: The names of its steps, in their order.
        tracking_uri: The MLflow that it is recorded in, without user and password.
        directory: Its working directory, where relative paths of the experiment begin; older runs kept none.
    """

    run: str
    experiment: str
    process: ProcessIdentity
    status: Status
    created: datetime
    ended: datetime | None = None
    steps: tuple[StepState, ...] = ()
    reason: str | None = None
    planned: tuple[str, ...] = STEPS
    tracking_uri: str | None = None
    directory: str | None = None

    def write(self, runs: Path) -> None:
        """Writes it into its folder. That the disk is full is for a step to say: it is no reason to stop a run."""
        values = {**asdict(self), "target": "local", "reason": self.reason and masked(self.reason)}
        values["steps"] = [{**step, "reason": step["reason"] and masked(step["reason"])} for step in values["steps"]]
        with suppress(OSError):
            write_atomically(runs / self.run / FILE, json.dumps(values, indent=2, default=datetime.isoformat) + "\n")

    def at(self, steps: Sequence[StepState]) -> "Record":
        """Returns the record of a run that has come so far."""
        return replace(self, status="running", steps=tuple(steps))

    def over(self, status: Status, reason: str | None = None, ended: datetime | None = None) -> "Record":
        """Returns the record of a run that ends now, or ended then; a step at work ends with it."""
        ended = ended or datetime.now(UTC)
        steps = tuple(
            step if step.status in ENDED else replace(step, status=status, ended=ended, reason=reason)
            for step in self.steps
        )
        return replace(self, status=status, ended=ended, steps=steps, reason=reason)

    def is_over(self, folder: Path) -> bool:
        """Returns whether the run has ended, by itself or with its process."""
        if self.status in ENDED:
            return True
        held = folder / LOCK
        # A run of an older version, or on a file system without locks, has no such file.
        return not (lock.is_held(held) if held.exists() else self.process.alive())

    def ended_with_its_process(self, folder: Path) -> "Record":
        """Returns the record of a run that is over without having said so; it ended when it last wrote something."""
        return self.over("failed", GONE, datetime.fromtimestamp(last_sign(folder), UTC))

    def state(self, folder: Path) -> RunState:
        """Returns the run as it is: one whose process is gone without an ending has failed."""
        record = self
        if self.status not in ENDED and self.is_over(folder):
            said = read(folder)  # it may have ended since this was read
            record = said if said and said.status in ENDED else self.ended_with_its_process(folder)
        return RunState(
            id=record.run,
            experiment=record.experiment,
            target="local",
            status=record.status,
            steps=in_order(record.planned, record.steps, record.status),
            created=record.created,
            ended=record.ended,
            link=str(folder),
            reason=record.reason,
        )


def read(folder: Path) -> Record | None:
    """Returns the record of a run's folder; None where there is none.

    Raises:
        DamagedError: There is one that is not what a run writes.
    """
    try:
        return read_json(folder / FILE, _record)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _record(values: Any) -> Record:
    """Makes a record of JSON values.

    Raises:
        ValueError: They are none. A time without an offset, or which no zone's calendar can show, is damage, too.
    """
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    record = _reader().validate_python(values)
    for name, time in _times(record):
        if time is not None and time.tzinfo is None:
            raise ValueError(f"{name}: {time.isoformat()} has no offset from UTC")
        if time is not None and not EARLIEST_YEAR <= time.year < MAXYEAR:
            raise ValueError(f"{name}: {time.isoformat()} is no time at which a run was at work")
    return record


def _times(record: Record) -> Iterator[tuple[str, datetime | None]]:
    yield from (("created", record.created), ("ended", record.ended))
    for number, step in enumerate(record.steps):
        yield from ((f"steps.{number}.started", step.started), (f"steps.{number}.ended", step.ended))


@cache
def _reader() -> "TypeAdapter[Record]":
    from pydantic import TypeAdapter

    return TypeAdapter(Record)


def state(folder: Path) -> RunState | None:
    """Returns the run of a folder as it is, one whose record is damaged by its name; None where there is no record."""
    try:
        record = read(folder)
    except DamagedError as error:
        return RunState(
            folder.name, "", "local", "damaged", created=written(folder), link=str(folder), reason=str(error)
        )
    return None if record is None else record.state(folder)


def written(folder: Path) -> datetime:
    """Returns when a run last wrote its record."""
    return datetime.fromtimestamp((folder / FILE).stat().st_mtime, UTC)
