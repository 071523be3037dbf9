"""What a local run says of itself while it is at work: `run.json` in its folder."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts import DamagedError, read_json, write_atomically
from pipelines.targets import ENDED, RunState, Status, StepState
from pipelines.targets.local.process import Process
from pipelines.targets.tasks import in_order

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FILE = "run.json"
STEPS = ("preprocess", "train", "evaluate", "register")
GONE = "its process is gone"


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
    """

    run: str
    experiment: str
    process: Process
    status: Status
    created: datetime
    ended: datetime | None = None
    steps: tuple[StepState, ...] = ()
    reason: str | None = None
    planned: tuple[str, ...] = STEPS

    def write(self, runs: Path) -> None:
        """Writes it into its folder. That the disk is full is for a step to say: it is no reason to stop a run."""
        values = {**asdict(self), "target": "local"}
        with suppress(OSError):
            write_atomically(runs / self.run / FILE, json.dumps(values, indent=2, default=datetime.isoformat) + "\n")

    def at(self, steps: Sequence[StepState]) -> "Record":
        """Returns the record of a run that has come so far."""
        return replace(self, status="running", steps=tuple(steps))

    def over(self, status: Status, reason: str | None = None) -> "Record":
        """Returns the record of a run that ends now; a step at work ends with it."""
        now = datetime.now(UTC)
        steps = tuple(
            step if step.status in ENDED else replace(step, status=status, ended=now, reason=reason)
            for step in self.steps
        )
        return replace(self, status=status, ended=now, steps=steps, reason=reason)

    def state(self, folder: Path) -> RunState:
        """Returns the run as it is: one whose process is gone without an ending has failed."""
        record = self
        if self.status not in ENDED and not self.process.alive():
            record = replace(self.over("failed", GONE), ended=None)
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
        return read_json(folder / FILE, _reader().validate_python)
    except (FileNotFoundError, NotADirectoryError):
        return None


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
