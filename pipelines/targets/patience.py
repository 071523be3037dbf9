"""Asking again: a platform that is busy or out of reach for a moment is given a few chances."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each try after the first."""

LONGEST = 60.0
"""Seconds that a platform may ask to be left alone for; a person is told of longer ones instead."""


def patiently(ask: Callable[[], Answer], passing: Callable[[Exception], float | None]) -> Answer:
    """Returns the answer to a request, which is repeated while its failure is one that passes.

    Args:
        ask: The request. It must be safe to repeat.
        passing: Of an error, the seconds that the platform asks to wait, 0 where it does not say, or None for an
            error that no repetition mends.

    Raises:
        Exception: The last error, or the first that does not pass.
    """
    for wait in WAITS:
        try:
            return ask()
        except Exception as error:
            asked_for = passing(error)
            if asked_for is None or asked_for > LONGEST:
                raise
            time.sleep(max(wait, asked_for))
    return ask()


def retry_after(headers: object) -> float:
    """Returns the seconds of a Retry-After header; 0 where there is none, or a date."""
    value = headers.get("Retry-After") if hasattr(headers, "get") else None
    try:
        return max(0.0, float(value)) if value is not None else 0.0
    except ValueError:
        return 0.0
