"""Retries: a server that is busy or out of reach for a moment is asked a few more times."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")
Delay = Callable[[Exception], float | None]
"""Of an error, the seconds that the server asks to wait: 0 where it does not say, None where no retry helps."""

WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each retry."""

LONGEST = 60.0
"""Seconds that a server may ask for; a longer wait is an error at once."""

BUSY = (408, 429, 500, 502, 503, 504)
"""The HTTP statuses that a retry may mend."""


def retried(ask: Callable[[], Answer], delay: Delay) -> Answer:
    """Returns the answer to a request that is safe to repeat.

    Raises:
        Exception: The error of the last try, or the first that no retry helps.
    """
    for wait in WAITS:
        try:
            return ask()
        except Exception as error:
            asked_for = delay(error)
            if asked_for is None or asked_for > LONGEST:
                raise
            time.sleep(max(wait, asked_for))
    return ask()


def created_once(create: Callable[[], Answer], find: Callable[[], Answer | None], delay: Delay) -> Answer:
    """Returns what `create` makes; before each retry, `find` looks for what a try whose answer was lost has made.

    Args:
        create: The request.
        find: Returns the resource by its unique name; None where there is none.
        delay: As for `retried`.
    """
    tried = False

    def attempt() -> Answer:
        nonlocal tried
        if tried and (found := find()) is not None:
            return found
        tried = True
        return create()

    return retried(attempt, delay)


def removed_once(remove: Callable[[], object], delay: Delay) -> None:
    """Removes a resource. If a retry does not find it (404), a try whose answer was lost has removed it."""
    tried = False

    def attempt() -> None:
        nonlocal tried
        again, tried = tried, True
        try:
            remove()
        except Exception as error:
            if not again or getattr(error, "status", None) != 404:
                raise

    retried(attempt, delay)


def retry_after(headers: object) -> float:
    """Returns the seconds of a Retry-After header; 0 where there is none, or a date."""
    value = headers.get("Retry-After") if hasattr(headers, "get") else None
    try:
        return max(0.0, float(value)) if value is not None else 0.0
    except ValueError:
        return 0.0
