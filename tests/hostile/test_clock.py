"""A clock that was years ahead and is put right: what lies in the future is shown as such, and today goes on."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from typer.testing import CliRunner

from elboflow.artifacts.lock import hold
from pipelines.cli import app
from pipelines.schedules.heartbeat import LOCK, beat, sign, trouble
from pipelines.schedules.local import LocalTarget
from pipelines.schedules.states import Key, Tick
from pipelines.schedules.store import Store
from pipelines.timing import Timing
from pipelines.workspace import Workspace
from tests.pipelines.schedules.world import World, add, records, utc

TODAY, AHEAD = utc(2026, 11, 28, 2), utc(2028, 3, 1, 2)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """This process' clock, at half past two today."""
    with time_machine.travel(TODAY + HOUR / 2, tick=False) as clock:
        yield clock


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A nightly schedule, some of whose runs a clock ahead has made."""
    add(tmp_path, Timing("0 2 * * *"), TODAY - 3 * DAY + HOUR)
    world = World(tmp_path, 0, TODAY - 2 * DAY, runs_for=MINUTE)
    for moment in (TODAY - 2 * DAY, TODAY - DAY, AHEAD, AHEAD + DAY, TODAY - HOUR, TODAY):
        world.now = moment
        for _ in range(2):
            world.look()
            world.until(world.now + 4 * MINUTE)
    return world


def does(workspace: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["schedule", *words, "--workspace", str(workspace)])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_the_nights_of_today_run_and_those_of_the_future_do_not_run_again(world: World):
    while world.now < AHEAD + 2 * DAY:
        world.look()
        world.until(world.now + 23 * HOUR + 58 * MINUTE if world.now > TODAY + 5 * DAY else world.now + 3 * MINUTE)
    assert set(world.ran.values()) == {1}
    ran = [key.time for key in world.ran]
    assert ran[:5] == [TODAY - 2 * DAY, TODAY - DAY, AHEAD, AHEAD + DAY, TODAY]
    assert {TODAY + days * DAY for days in range(1, 5)} <= set(ran)
    ticks = [tick.key.time for tick in records(world.workspace, "nightly-1")]
    assert ticks == [TODAY + days * DAY for days in range(-2, len(ticks) - 2)]


def test_the_tables_show_today_first_and_what_lies_in_the_future_as_such(world: World, clock: time_machine.Traveller):
    rows = does(world.workspace, "history", "nightly-1").splitlines()[1:]
    assert [row[:10] for row in rows] == ["2026-11-28", "2026-11-27", "2026-11-26", "2028-03-02", "2028-03-01"]
    assert ["in the future: the clock was ahead" in row for row in rows] == [False] * 3 + [True] * 2
    history = json.loads(does(world.workspace, "history", "nightly-1", "--json", "--limit", "4"))["history"]
    assert [row["future"] for row in history] == [False] * 3 + [True]
    (schedule,) = json.loads(does(world.workspace, "list", "--json"))["schedules"]
    assert schedule["last"]["tick"] == TODAY.isoformat()
    assert schedule["next"] == (TODAY + DAY).isoformat()


def test_a_schedule_that_was_made_and_paused_under_a_clock_ahead_is_paused_today_and_ticks_when_it_is_resumed(
    tmp_path: Path, clock: time_machine.Traveller
):
    add(tmp_path, Timing("0 * * * *"), AHEAD, paused=AHEAD + HOUR)
    world = World(tmp_path, 0, TODAY)
    for hours in range(4):
        world.now = TODAY + hours * HOUR
        world.look()
    assert not world.ran
    assert {tick.reason for tick in records(tmp_path, "nightly-1")} == {"the schedule was paused"}
    clock.move_to(world.now + MINUTE)
    LocalTarget(Workspace(tmp_path)).resume("nightly-1")
    world.until(TODAY + 4 * HOUR)
    world.look()
    world.until(world.now + MINUTE)
    assert [key.time for key in world.ran] == [TODAY + 4 * HOUR]


def test_a_run_by_hand_that_never_began_under_a_clock_ahead_does_not_hold_the_place_of_todays(tmp_path: Path):
    add(tmp_path, Timing("0 2 * * *"), TODAY - HOUR)
    with Store(tmp_path) as store:
        store.record([Tick(Key("nightly-1", AHEAD + timedelta(microseconds=7)), "hand", "claimed")])
    world = World(tmp_path, 0, TODAY - MINUTE, runs_for=timedelta(seconds=5))
    for _ in range(20):
        world.look()
        world.until(world.now + timedelta(seconds=30))
    assert [key.time for key in world.ran][1:] == [TODAY]


def test_what_waited_or_was_about_to_start_under_a_clock_ahead_is_taken_back(tmp_path: Path):
    add(tmp_path, Timing("0 2 * * *", catch_up="all"), TODAY - HOUR)
    world = World(tmp_path, 0, AHEAD)
    world.look()
    world.children.clear()  # it was killed before it took its tick
    world.now = TODAY
    world.look()
    assert [(tick.key.time, tick.state) for tick in records(tmp_path, "nightly-1")] == [(TODAY, "claimed")]


def test_a_heartbeat_of_the_future_is_none(tmp_path: Path):
    lock = hold(tmp_path / LOCK)
    assert lock is not None
    sign(lock)
    with Store(tmp_path) as store:
        beat(store, datetime.now(UTC))
        assert trouble(tmp_path) is None
        beat(store, AHEAD + 9999 * DAY)
    assert "has not said since" in (trouble(tmp_path) or "")


def test_a_clock_outside_of_the_calendar_keeps_the_records(world: World):
    before = records(world.workspace, "nightly-1")
    for now in (utc(1970, 1, 1), utc(2262, 1, 1)):
        world.now = now
        with suppress(OverflowError):
            world.look()
    world.now = TODAY + HOUR
    world.look()
    ran = [tick for tick in before if tick.process is not None]
    assert [tick for tick in records(world.workspace, "nightly-1") if tick.process is not None] == ran
