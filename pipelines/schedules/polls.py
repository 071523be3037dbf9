"""The record of the looks at the data of schedules that a change triggers."""

from contextlib import suppress
from datetime import datetime

from pipelines.schedules.rows import MOMENT, DamagedRowError, checked, plain
from pipelines.schedules.store import Store


def last_look(store: Store, schedule: str) -> datetime | None:
    """Returns when the data of a schedule were last looked at; None where they never were."""
    found = store.read("SELECT polled FROM polls WHERE schedule = ?", schedule)
    with suppress(DamagedRowError):  # the next look replaces it
        return checked(MOMENT, found[0]["polled"]) if found else None
    return None


def seen(store: Store, schedule: str) -> tuple[str, str] | None:
    """Returns the signature and the fingerprint of a schedule's data at the last look; None without one."""
    found = store.read("SELECT signature, fingerprint FROM polls WHERE schedule = ?", schedule)
    row = found[0] if found else None
    return None if row is None or row["signature"] is None else (str(row["signature"]), str(row["fingerprint"]))


def begin(store: Store, schedule: str, now: datetime) -> None:
    """Records that the data of a schedule are looked at now."""
    begun = "INSERT INTO polls (schedule, polled) VALUES (?, ?) ON CONFLICT (schedule) DO UPDATE SET polled = ?"
    store.write(begun, schedule, plain(now), plain(now))


def end(store: Store, schedule: str, seen: tuple[str, str] | None, error: str | None) -> None:
    """Records what a look at the data has found, or why it found nothing."""
    if seen is not None:
        store.write("UPDATE polls SET signature = ?, fingerprint = ? WHERE schedule = ?", *seen, schedule)
    store.write("UPDATE polls SET error = ? WHERE schedule = ?", error, schedule)


def error(store: Store, schedule: str) -> str | None:
    """Returns why the last look at the data of a schedule found nothing."""
    found = store.read("SELECT error FROM polls WHERE schedule = ?", schedule)
    return found[0]["error"] if found else None
