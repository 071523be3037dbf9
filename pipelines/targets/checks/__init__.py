"""What must be so before a run: each target has a function `checks`, and `elboflow doctor` runs what it returns."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

SECONDS = 4.0
"""For a request of a check."""

State = Literal["well", "ill", "unknown"]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        what: What was checked: `bucket gs://data`.
        state: well; ill, which is to be mended before a run; or unknown, where it cannot be told from here.
        found: What was found.
        mend: What to do about it, unless it is well.
    """

    what: str
    state: State
    found: str
    mend: str = ""


class UnknownError(Exception):
    """A check cannot find out what it should; the text says why.

    Attributes:
        mend: How a person can find it out.
    """

    def __init__(self, found: str, mend: str) -> None:
        super().__init__(found)
        self.mend = mend


@dataclass(frozen=True)
class Check:
    """A check.

    Attributes:
        what: What it checks.
        look: Returns the findings, or raises `UnknownError`.
        seconds: After these it is reported as unknown.
    """

    what: str
    look: Callable[[], Finding | Iterable[Finding]]
    seconds: float = 5.0
