"""What becomes of a tick: in time, too late, too many at once, paused, or on a clock that jumps."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from pipelines.schedules.local import LocalTarget
from pipelines.schedules.record_due import GRACE
from pipelines.schedules.states import Key, Tick
from pipelines.schedules.store import Store
from pipelines.timing import Timing
from pipelines.workspace import Workspace
from tests.pipelines.schedules.world import World, add, utc
from tests.pipelines.schedules.world import records as each

BEGIN = utc(2026, 11, 21, 12)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def nightly(tmp_path: Path, catch_up: Literal["none", "last", "all"] = "none", max_active: int = 1) -> World:
    add(tmp_path, Timing("0 2 * * *", catch_up=catch_up, max_active=max_active), BEGIN)
    return World(tmp_path, 0, BEGIN)


def records(world: World) -> list[Tick]:
    """The ticks, the oldest first."""
    return each(world.workspace, "nightly-1")


def told(world: World) -> list[str]:
    return [f"{tick.key.time:%d %H:%M} {tick.origin} {tick.state}" for tick in records(world)]


def night(number: int) -> datetime:
    return utc(2026, 11, 22, 2) + number * DAY


def look_until(world: World, moment: datetime, every: timedelta = 4 * MINUTE) -> None:
    while world.now < moment:
        world.until(min(world.now + every, moment))
        world.look()


def test_a_tick_in_time_runs_once_however_often_somebody_looks(tmp_path: Path):
    world = nightly(tmp_path)
    look_until(world, night(0) - MINUTE)
    assert told(world) == []
    look_until(world, night(0) + 2 * HOUR)
    assert told(world) == ["22 02:00 tick succeeded"]
    assert list(world.ran.values()) == [1]


def test_a_tick_a_little_late_still_counts_as_in_time(tmp_path: Path):
    world = nightly(tmp_path)
    world.until(night(0) + GRACE)
    world.look()
    assert told(world) == ["22 02:00 tick claimed"]


def test_what_was_missed_is_recorded_and_not_run_unless_it_is_to_be_made_up_for(tmp_path: Path):
    world = nightly(tmp_path)
    world.until(night(2) + HOUR)
    look_until(world, night(2) + 5 * HOUR)
    assert told(world) == [f"{day} 02:00 tick missed" for day in (22, 23, 24)]
    assert "no scheduler was at work" in (records(world)[0].reason or "")
    assert not world.ran


def test_the_last_that_was_missed_is_made_up_for(tmp_path: Path):
    world = nightly(tmp_path, "last")
    world.until(night(2) + HOUR)
    look_until(world, night(2) + 5 * HOUR)
    assert told(world) == ["22 02:00 tick missed", "23 02:00 tick missed", "24 02:00 catch-up succeeded"]


def test_a_tick_in_time_is_the_last_so_that_none_is_made_up_for(tmp_path: Path):
    world = nightly(tmp_path, "last")
    world.until(night(2))
    look_until(world, night(2) + 5 * HOUR)
    assert told(world) == ["22 02:00 tick missed", "23 02:00 tick missed", "24 02:00 tick succeeded"]


def test_all_that_were_missed_are_made_up_for_one_after_another_and_the_present_one_behind_them(tmp_path: Path):
    world = nightly(tmp_path, "all")
    world.until(night(2))
    world.look()
    assert told(world) == ["22 02:00 catch-up claimed", "23 02:00 catch-up waiting", "24 02:00 tick waiting"]
    look_until(world, night(2) + 5 * HOUR)
    assert told(world) == ["22 02:00 catch-up succeeded", "23 02:00 catch-up succeeded", "24 02:00 tick succeeded"]
    begun = [(tick.started, tick.ended) for tick in records(world)]
    assert len(world.ran) == 3
    assert all(started is not None and ended is not None for started, ended in begun)


def test_as_many_as_may_be_at_work_are_made_up_for_at_once(tmp_path: Path):
    world = nightly(tmp_path, "all", max_active=2)
    world.until(night(2) + HOUR)
    world.look()
    assert told(world) == ["22 02:00 catch-up claimed", "23 02:00 catch-up claimed", "24 02:00 catch-up waiting"]


def test_a_tick_beyond_max_active_is_recorded_and_not_run(tmp_path: Path):
    world = nightly(tmp_path)
    world.runs_for = 60 * DAY  # of which some random part
    look_until(world, night(2), every=HOUR)
    assert told(world)[:2] == ["22 02:00 tick running", "23 02:00 tick skipped"]
    assert records(world)[1].reason == "1 run is still at work, and max_active is 1"


def test_where_the_last_is_made_up_for_a_later_one_takes_its_place_in_the_queue(tmp_path: Path):
    world = nightly(tmp_path, "last")
    world.runs_for = 60 * DAY
    world.until(night(0))
    world.look()
    world.until(night(1) + HOUR)
    world.look()
    world.until(night(2) + HOUR)
    world.look()
    assert told(world) == ["22 02:00 tick running", "23 02:00 catch-up missed", "24 02:00 catch-up waiting"]
    assert records(world)[1].reason == "a later tick is made up for instead"


def test_the_ticks_of_a_pause_are_recorded_as_such_and_never_made_up_for(tmp_path: Path):
    add(tmp_path, Timing("0 2 * * *", catch_up="all"), BEGIN, paused=night(0) + HOUR)
    world = World(tmp_path, 0, BEGIN)
    world.until(night(2) + HOUR)
    look_until(world, night(2) + 5 * HOUR)
    assert told(world) == ["22 02:00 catch-up waiting", "23 02:00 tick skipped", "24 02:00 tick skipped"]
    assert records(world)[1].reason == "the schedule was paused"
    with Store(tmp_path) as store:
        store.change("nightly-1", paused=None)
    look_until(world, night(2) + 8 * HOUR)
    assert told(world)[0] == "22 02:00 catch-up succeeded"


def test_a_clock_that_is_put_back_behind_a_tick_that_ran_does_not_run_it_again(tmp_path: Path):
    world = nightly(tmp_path)
    look_until(world, night(0) + 2 * HOUR)
    world.now = night(0) - HOUR
    look_until(world, night(1) + 2 * HOUR)
    assert told(world) == ["22 02:00 tick succeeded", "23 02:00 tick succeeded"]
    assert list(world.ran.values()) == [1, 1]


def test_a_clock_that_was_years_ahead_and_is_put_right_leaves_no_nights_without_a_run(tmp_path: Path):
    world = nightly(tmp_path)
    look_until(world, night(0) + HOUR)
    world.now += 2000 * DAY
    world.look()
    assert len(records(world)) == 2001
    world.now -= 2000 * DAY
    look_until(world, night(2) + HOUR)
    assert told(world) == [f"{day} 02:00 tick succeeded" for day in (22, 23, 24)]


def test_a_clock_that_jumps_over_a_tick_leaves_a_record_of_it(tmp_path: Path):
    world = nightly(tmp_path)
    look_until(world, night(0) - MINUTE)
    world.now = night(0) + HOUR
    world.look()
    assert told(world) == ["22 02:00 tick missed"]
    assert "the clock jumped past it" in (records(world)[0].reason or "")


@pytest.mark.parametrize(("month", "day"), [(3, 29), (10, 25)])
def test_the_night_on_which_the_clocks_are_put_has_one_run(month: int, day: int, tmp_path: Path):
    begin = utc(2026, month, day) - 12 * HOUR
    add(tmp_path, Timing("30 2 * * *", "Europe/Berlin"), begin)
    world = World(tmp_path, 0, begin)
    look_until(world, begin + DAY, every=MINUTE)
    assert [tick.state for tick in records(world)] == ["succeeded"]
    assert list(world.ran.values()) == [1]


def test_a_tick_whose_processes_end_before_they_begin_fails_after_three(tmp_path: Path):
    world = nightly(tmp_path)
    world.until(night(0))
    for _ in range(8):
        world.look()
        world.children.clear()  # each is killed before it takes its tick
    assert told(world) == ["22 02:00 tick failed"]
    assert "3 processes were started for it" in (records(world)[0].reason or "")
    assert not world.ran


def test_a_run_that_is_killed_with_all_its_processes_has_failed(tmp_path: Path):
    world = nightly(tmp_path)
    look_until(world, night(0) + MINUTE, every=MINUTE)
    assert told(world) == ["22 02:00 tick running"]
    world.children.clear()
    world.look()
    assert told(world) == ["22 02:00 tick failed"]
    assert "killed, memory runs out or the machine stops" in (records(world)[0].reason or "")
    assert list(world.ran.values()) == [1]


@pytest.mark.parametrize("catch_up", ["none", "last", "all"])
def test_a_run_that_died_with_the_power_does_not_keep_the_next_tick_from_running(
    catch_up: Literal["none", "last", "all"], tmp_path: Path
):
    world = nightly(tmp_path, catch_up)
    world.runs_for = 60 * DAY
    look_until(world, night(0) + MINUTE, every=MINUTE)
    world.power_fails()
    world.until(night(1) + 3 * MINUTE)
    world.look()
    assert told(world) == ["22 02:00 tick failed", "23 02:00 tick claimed"]
    assert "its processes ended without a result" in (records(world)[0].reason or "")


def test_a_schedule_that_is_resumed_does_not_skip_a_tick_for_a_run_that_died(tmp_path: Path):
    last = datetime.now(UTC).replace(second=0, microsecond=0)
    add(tmp_path, Timing("* * * * *"), last - MINUTE)
    with Store(tmp_path) as store:
        store.record([Tick(Key("nightly-1", last - MINUTE), "tick", "running", process=1, run="dead")])
    LocalTarget(Workspace(tmp_path)).resume("nightly-1")
    assert [tick.state for tick in each(tmp_path, "nightly-1")][:2] == ["failed", "waiting"]
