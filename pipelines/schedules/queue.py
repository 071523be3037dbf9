"""The queue in which ticks wait for a slot: no more runs are active at once than the machine can carry.

Ticks are ordered by their time, then by the name of their schedule. Caught-up ticks come after all others, and so do
the ticks behind them in their own schedule: a long backlog must not delay tonight's runs.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from pipelines.schedules.states import ACTIVE, Schedule, Tick
from pipelines.schedules.store import Store


def admit(store: Store, slots: int) -> None:
    """Claims free slots for the first ticks of the queue whose schedules allow one more run.

    Args:
        store: The schedules.
        slots: How many runs of all schedules may be active at once.
    """
    with store.transaction():
        open_ticks = store.open_ticks()
        active = Counter(tick.key.schedule for tick in open_ticks if tick.state in ACTIVE)
        schedules = {schedule.id: schedule for schedule in store.schedules()}
        for tick in queued(open_ticks, schedules.values()):
            if active.total() >= slots:
                return
            id = tick.key.schedule
            if active[id] < schedules[id].timing.max_active and store.turn(tick.key, "waiting", "claimed"):
                active[id] += 1


def queued(open_ticks: Sequence[Tick], schedules: Iterable[Schedule]) -> list[Tick]:
    """Returns the waiting ticks, the next first, without those of paused schedules.

    Args:
        open_ticks: All ticks that have not ended, the oldest first.
        schedules: All schedules.
    """
    names = {schedule.id: schedule.name for schedule in schedules if schedule.paused is None}
    queue: list[tuple[bool, datetime, str, str, Tick]] = []
    with_backlog: set[str] = set()
    for tick in open_ticks:
        id = tick.key.schedule
        if tick.state == "waiting" and id in names:
            if tick.origin == "catch-up":
                with_backlog.add(id)
            queue.append((id in with_backlog, tick.key.time, names[id], id, tick))
    return [tick for *_, tick in sorted(queue, key=lambda each: each[:4])]
