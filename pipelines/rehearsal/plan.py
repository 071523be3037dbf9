"""What is planted in which night of a rehearsal."""

import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from elboflow.settings.zones import zone
from pipelines.timing import Timing

OF_REQUESTS = {
    "429": "is refused once, with a Retry-After",
    "500": "fails once",
    "lost answer": "gets no answer once",
}
"""Faults of the command that follows a run, which asks for its state."""
EXPIRED = "expired token"
OF_SUBMISSION = ("503 on submission", "lost answer on submission")
"""Faults of a run that a person starts by hand, because the platform missed the tick."""
PRE_EMPTION, FAILING = "pre-emption", "failing step"
CLOCK = "clock change"
NO_DATA, DRIFTED = "no data", "drifted data"

_YEAR = timedelta(days=366)
_STEP = timedelta(minutes=30)
"""Clocks change at a whole or a half hour of UTC."""


@dataclass(frozen=True)
class Planned:
    """A night as it is planned: what is planted, and whether its steps do their work."""

    fault: str | None
    executes: bool


def plan(nights: int, seed: int, executes: bool, faults: Sequence[str]) -> list[Planned]:
    """Returns the nights: the first, one after a fault and those with faults of data execute.

    Args:
        seed: Spreads the faults over the nights.
        executes: Whether steps can do their work.
        faults: What is planted, as far as there are nights for it: the first night has none.
    """
    dice = random.Random(seed)
    drawn = list(faults)
    dice.shuffle(drawn)
    at = sorted(dice.sample(range(1, nights), min(len(drawn), max(nights - 1, 0))))
    planted = dict(zip(at, drawn, strict=False))
    after = next((night + 1 for night in at if night + 1 < nights and night + 1 not in planted), None)
    return [
        Planned(planted.get(night), executes and (night in (0, after) or planted.get(night) in (NO_DATA, DRIFTED)))
        for night in range(nights)
    ]


def faults(timing: Timing, now: datetime, expires: bool, samples: Sequence[Path]) -> list[str]:
    """Returns what can be planted.

    Args:
        timing: When the schedule runs.
        now: When it is made.
        expires: Whether the command that follows a run has a token that expires.
        samples: The files that stand for the source of the nights that execute; none where no night does.
    """
    found = [*OF_REQUESTS, *OF_SUBMISSION, PRE_EMPTION, FAILING]
    if expires:
        found.append(EXPIRED)
    if timing.end is None and next_change(timing, now) is not None:
        found += [CLOCK, CLOCK]  # forward and back
    if samples:
        found.append(NO_DATA)
    if any(drifted(file) != file.read_bytes() for file in samples):
        found.append(DRIFTED)
    return found


def next_change(timing: Timing, after: datetime) -> datetime | None:
    """Returns when the clock of a schedule's timezone changes next, within a year; None where it does not."""
    here, moment = zone(timing.timezone), after.replace(minute=0, second=0, microsecond=0)
    while moment < after + _YEAR:
        later = moment + _STEP
        if moment.astimezone(here).utcoffset() != later.astimezone(here).utcoffset():
            return later
        moment = later
    return None


@contextmanager
def data(files: Sequence[Path], fault: str | None) -> Iterator[None]:
    """Takes the samples away for a night, or lets them drift."""
    kept = {file: file.read_bytes() for file in files}
    try:
        for file in files:
            if fault == NO_DATA:
                file.unlink()
            elif fault == DRIFTED:
                file.write_bytes(drifted(file))
        yield
    finally:
        for file, content in kept.items():
            file.write_bytes(content)


def drifted(file: Path) -> bytes:
    """Returns a table of which all numbers with a decimal point are three times as large; other files as they are."""
    content = file.read_bytes()
    if file.suffix != ".csv":
        return content
    return re.sub(rb"(?<![\w.-])-?\d+\.\d+(?![\w.])", lambda number: b"%.6g" % (3 * float(number[0])), content)
