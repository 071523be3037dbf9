"""The line in which ticks wait for a place: no more runs are at work at once than the machine carries.

Ticks come by their time, then by the name of their schedule. What is made up for comes after all others, and so does
what waits behind it in its own schedule: a long backlog must not keep tonight's runs from theirs.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from pipelines.schedules.states import AT_WORK, Schedule, Tick
from pipelines.schedules.store import Store


def let_in(store: Store, places: int) -> None:
    """Gives the free places to the first in line whose schedules allow one more run.

    Args:
        store: The schedules.
        places: How many runs of all schedules may be at work at once.
    """
    with store.transaction():
        open_ticks = store.open_ticks()
        at_work = Counter(tick.key.schedule for tick in open_ticks if tick.state in AT_WORK)
        schedules = {schedule.id: schedule for schedule in store.schedules()}
        for tick in in_line(open_ticks, schedules.values()):
            if at_work.total() >= places:
                return
            id = tick.key.schedule
            if at_work[id] < schedules[id].timing.max_active and store.turn(tick.key, "waiting", "claimed"):
                at_work[id] += 1


def in_line(open_ticks: Sequence[Tick], schedules: Iterable[Schedule]) -> list[Tick]:
    """Returns the ticks that wait, the next first; those of paused schedules do not stand in line.

    Args:
        open_ticks: All ticks that have not ended, the oldest first.
        schedules: All schedules.
    """
    names = {schedule.id: schedule.name for schedule in schedules if schedule.paused is None}
    line: list[tuple[bool, datetime, str, str, Tick]] = []
    behind: set[str] = set()  # schedules whose backlog comes first
    for tick in open_ticks:
        id = tick.key.schedule
        if tick.state == "waiting" and id in names:
            if tick.origin == "catch-up":
                behind.add(id)
            line.append((id in behind, tick.key.time, names[id], id, tick))
    return [tick for *_, tick in sorted(line, key=lambda each: each[:4])]
