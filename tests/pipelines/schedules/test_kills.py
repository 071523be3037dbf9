"""Months of nightly ticks, with kills wherever something can be killed: each has one record, and none runs twice."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from pipelines.schedules.record_due import GRACE
from pipelines.schedules.states import OPEN, Tick
from pipelines.schedules.store import Store
from pipelines.timing import Timing
from pipelines.timing.calendar import Calendar
from tests.pipelines.schedules.world import World, add, utc
from tests.pipelines.schedules.world import records as each

BEGIN, END = utc(2026, 3, 1, 12), utc(2026, 7, 1, 12)


def live_through(world: World, calendar: Calendar) -> None:
    """Lets the scheduler look at every tick and now and then in between, unless it was killed and not started anew.

    Now and then the power fails, for hours, or until some minutes after the next tick.
    """
    down_until = world.now
    while world.now < END:
        following = calendar.after(world.now) or END
        pause = timedelta(hours=world.random.uniform(0.1, 6))
        at_the_tick = following + timedelta(seconds=world.random.uniform(0, 2))
        world.until(min(world.now + pause, at_the_tick, END, *[down_until] * (down_until > world.now)))
        if world.random.random() < 0.06:
            world.power_fails()
            late = timedelta(minutes=world.random.uniform(0, 4))
            down_until = world.random.choice((world.now + 3 * pause, (calendar.after(world.now) or END) + late))
        for _ in range(2):  # seconds apart, as the scheduler does while runs are at work
            if world.now >= down_until and world.look():
                down = world.random.choice((timedelta(seconds=5), timedelta(minutes=4), timedelta(hours=30)))
                down_until = world.now + down * world.random.random()
            world.until(world.now + timedelta(seconds=1.5))
    world.kills = 0.0
    for _ in range(400):  # whatever is still at work, or waits, comes to its end
        world.look()
        world.until(world.now + timedelta(minutes=20))
        with Store(world.workspace) as store:
            if not store.open_ticks():
                return
    raise AssertionError("something never ended")


@pytest.mark.parametrize("catch_up", ["none", "last", "all"])
def test_four_months_with_kills_at_random_leaves_one_record_for_every_tick_and_runs_none_twice(
    catch_up: Literal["none", "last", "all"], memory: Path, monkeypatch: pytest.MonkeyPatch
):
    timing = Timing("30 2 * * *", "Europe/Berlin", catch_up=catch_up)
    schedule, calendar = add(memory, timing, BEGIN), Calendar(timing)
    world = World(memory, 0, BEGIN, runs_for=timedelta(hours=26))
    world.inject(monkeypatch)
    world.kills = 0.03
    live_through(world, calendar)

    records = {tick.key.time: tick for tick in each(memory, schedule.id)}
    due = list(calendar.between(BEGIN, END))
    assert len(due) == 122
    assert sorted(time for time in records if time <= END) == due
    assert not [tick for tick in records.values() if tick.state in OPEN]
    assert max(world.ran.values()) == 1
    for tick in records.values():
        _check(tick, world)
    in_its_place = [
        tick.state
        for dead in records.values()
        for tick in records.values()
        if dead.state == "failed" and dead.ended is not None and "without a result" in (dead.reason or "")
        if dead.key.time < tick.key.time <= dead.ended <= tick.key.time + GRACE and tick.origin == "tick"
        if not [look for look in world.looked if tick.key.time <= look < dead.ended]
    ]
    assert len(in_its_place) > 1  # the power came back right after a tick: the dead run is found when the tick is due
    assert "skipped" not in in_its_place
    states = [tick.state for tick in records.values()]
    assert {"succeeded", "failed", "skipped"} <= set(states)
    assert ("missed" in states) == (catch_up != "all")
    assert any(tick.origin == "catch-up" for tick in records.values()) == (catch_up != "none")
    assert world.killed.total() > 20


def test_a_kill_at_any_place_of_three_nights_loses_no_tick_and_runs_none_twice(
    memory: Path, monkeypatch: pytest.MonkeyPatch
):
    begin, timing = utc(2026, 11, 21, 12), Timing("0 2 * * *", catch_up="all")
    world, places, where = World(memory, 0, begin), 0, set[str]()
    world.inject(monkeypatch)
    for kill_at in range(1, 2000):
        id = f"nightly-{kill_at}"
        add(memory, timing, begin, id)
        world.now, world.places, world.kill_at = begin, 0, kill_at
        for night in (utc(2026, 11, 22, 2), utc(2026, 11, 23, 8), utc(2026, 11, 24, 2)):  # the second: too late
            world.until(night)
            for _ in range(4):
                killed = world.look()
                world.until(world.now + timedelta(minutes=1 if killed else 41))
        world.kill_at, places = None, world.places
        with Store(memory) as store:
            store.change(id, deleted=world.now)
        records = each(memory, id)
        assert [tick.key.time.day for tick in records] == [22, 23, 24], kill_at
        assert [tick.origin for tick in records] == ["tick", "catch-up", "tick"], kill_at
        for tick in records:
            assert tick.state == "succeeded" or (tick.state == "failed" and "without a result" in (tick.reason or ""))
            assert world.ran[tick.key] <= 1
        assert sum(tick.state == "failed" for tick in records) <= 1
        where |= set(world.killed)
        if kill_at >= places:
            break
    assert {
        f"{when} {what}"
        for when in ("before", "after")
        for what in ("SELECT", "BEGIN", "INSERT", "COMMIT", "UPDATE", "the launch")
    } == where


def _check(tick: Tick, world: World) -> None:
    ran, looked = world.ran[tick.key], world.looked
    if tick.state == "succeeded":
        assert ran == 1
    elif tick.state == "failed":
        assert "ended without a result" in (tick.reason or "") or "ended before they began" in (tick.reason or "")
    else:
        assert ran == 0, tick
    if tick.state == "skipped":
        assert "still at work" in (tick.reason or "") or "waits for its turn" in (tick.reason or "")
        assert tick.ended is not None
        before = [gone for key, gone in world.gone.items() if key.time < tick.key.time]
        assert max(before) >= tick.ended, f"{tick.key} was skipped for a run that was no more"
    if tick.state == "missed" and tick.reason != "a later tick is made up for instead":
        assert not [look for look in looked if tick.key.time <= look <= tick.key.time + GRACE]
    if tick.origin == "catch-up":
        assert not [look for look in looked if tick.key.time <= look <= tick.key.time + GRACE]
