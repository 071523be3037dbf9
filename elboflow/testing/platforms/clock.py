"""The clock of the servers: that of this machine, until a rehearsal moves it."""

from datetime import UTC, datetime, timedelta

_ahead = timedelta()


def now() -> datetime:
    """Returns the time in UTC."""
    return datetime.now(UTC) + _ahead


def move_to(moment: datetime | None) -> None:
    """Sets the clock, which goes on from there; None sets it to that of this machine."""
    global _ahead
    _ahead = timedelta() if moment is None else moment - datetime.now(UTC)
