"""Ticks that do not run share a record: however many they are, each is in one record, and no transaction is long."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.schedules import record_due, schema
from pipelines.schedules.local import LocalTarget
from pipelines.schedules.one_pass import one_pass
from pipelines.schedules.states import Range, Tick
from pipelines.schedules.store import Store
from pipelines.timing import CatchUp, Timing
from pipelines.timing.calendar import MOST, Calendar
from pipelines.workspace import Workspace
from tests.pipelines.schedules.world import World, add, records, utc

CATCH_UPS: tuple[CatchUp, ...] = get_args(CatchUp)

NOW = utc(2026, 11, 28, 20)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WRITTEN_BY_98A35C2 = Path(__file__).with_name("written_by_98a35c2") / "schedules.db"


def history(workspace: Path, id: str = "nightly-1", now: datetime = NOW) -> list[Tick | Range]:
    with Store(workspace) as store:
        return store.history(id, 100_000, now)


@pytest.mark.parametrize(("catch_up", "waiting"), [("none", 0), ("last", 0), ("all", MOST)])
def test_a_pause_of_400_days_of_a_minutely_schedule_is_one_record_made_within_seconds(
    catch_up: CatchUp, waiting: int, tmp_path: Path
):
    add(tmp_path, Timing("* * * * *", catch_up=catch_up), NOW - 400 * DAY)
    beats = [time.monotonic()]
    with Store(tmp_path) as store:
        one_pass(store, World(tmp_path, 0, NOW), tmp_path, NOW, 1, lambda: beats.append(time.monotonic()))
        (missed,) = [record for record in store.history("nightly-1", 5000, NOW) if isinstance(record, Range)]
        open_ticks = Counter(tick.origin for tick in store.open_ticks())
    beats.append(time.monotonic())
    assert (missed.first, missed.ticks) == (NOW - 400 * DAY + MINUTE, 576_000 - 1 - waiting)
    assert open_ticks == Counter({"tick": 1, "catch-up": waiting})  # the one in time stands in line, too
    assert max(after - before for before, after in pairwise(beats)) < 10  # `--check` allows 30
    assert (tmp_path / "schedules.db").stat().st_size < 1e6


def test_a_clock_a_century_ahead_is_settled_in_steps_with_a_heartbeat_between_them(tmp_path: Path):
    add(tmp_path, Timing("0 * * * *"), NOW)
    later, beats = NOW + timedelta(days=36_500), list[float]()
    with Store(tmp_path) as store:
        one_pass(store, World(tmp_path, 0, later), tmp_path, later, 1, lambda: beats.append(time.monotonic()))
    assert len(beats) > 30
    (tick, missed) = history(tmp_path, now=later)
    assert isinstance(missed, Range)
    assert isinstance(tick, Tick)
    assert missed.ticks == 36_500 * 24 - 1


def test_the_history_shows_them_in_one_line_and_as_one_json_object(tmp_path: Path):
    add(tmp_path, Timing("* * * * *"), utc(2025, 1, 1))
    with Store(tmp_path) as store:
        now = utc(2026, 1, 1) + 10 * MINUTE
        store.change("nightly-1", paused=utc(2025, 1, 1) + HOUR)
        while not record_due.record_due(store, "nightly-1", now):
            pass

    def does(*words: str) -> str:
        done = CliRunner().invoke(app, ["schedule", *words, "--workspace", str(tmp_path)])
        assert done.exit_code == 0, done.stderr
        return done.stdout

    _, paused, missed = does("history", "nightly-1").splitlines()
    assert paused.split()[:4] == ["2026-01-01", "00:10", "UTC", "skipped"]
    assert "525,550 ticks from 2025-01-01 01:01 UTC to 2026-01-01 00:10 UTC: the schedule was paused" in paused
    assert "60 ticks from 2025-01-01 00:01 UTC to 2025-01-01 01:00 UTC: no scheduler was at work" in missed
    newest, _ = json.loads(does("history", "nightly-1", "--json"))["history"]
    assert (newest["first"], newest["tick"]) == ("2025-01-01T01:01:00+00:00", "2026-01-01T00:10:00+00:00")
    assert (newest["ticks"], newest["record"], newest["reason"]) == (525_550, "skipped", "the schedule was paused")
    assert "paused" in does("list")


def test_a_pause_with_a_scheduler_at_work_is_one_record_that_grows(tmp_path: Path):
    add(tmp_path, Timing("* * * * *"), NOW, paused=NOW)
    world = World(tmp_path, 0, NOW)
    for _ in range(60):
        world.until(world.now + MINUTE)
        world.look()
    (paused,) = history(tmp_path)
    assert isinstance(paused, Range)
    assert (paused.ticks, paused.last, paused.reason) == (60, NOW + HOUR, "the schedule was paused")


def test_a_range_ends_at_a_tick_that_ran_when_the_clock_was_ahead(tmp_path: Path):
    add(tmp_path, Timing("0 * * * *"), NOW)
    world = World(tmp_path, 0, NOW, runs_for=MINUTE)
    world.until(NOW + 10 * HOUR)
    world.look()
    world.until(world.now + 5 * MINUTE)
    world.look()
    ran = [tick.key for tick in records(tmp_path, "nightly-1") if tick.state == "succeeded"]
    assert [key.time for key in ran] == [NOW + 10 * HOUR]
    world.now = NOW + 4 * HOUR + MINUTE * 30  # put right: the range is cut, and four of its ticks stay
    world.look()
    first = history(tmp_path)[-1]
    assert isinstance(first, Range)
    assert (first.ticks, first.last) == (4, NOW + 4 * HOUR)
    world.now = NOW + 20 * HOUR + MINUTE * 30
    world.look()
    ticks = records(tmp_path, "nightly-1")
    assert [tick.key.time for tick in ticks] == [NOW + hours * HOUR for hours in range(1, 21)]
    assert list(world.ran.values()) == [1]
    assert [record.ticks for record in history(tmp_path, now=world.now) if isinstance(record, Range)] == [10, 9]


def test_no_more_than_a_thousand_wait_to_be_made_up_for_and_they_are_the_latest(tmp_path: Path):
    add(tmp_path, Timing("* * * * *", catch_up="all"), NOW)
    world = World(tmp_path, 0, NOW, runs_for=2000 * DAY)
    for days in (2, 2.5, 7):
        world.now = NOW + timedelta(days=days, minutes=-0.1)
        world.look()
    with Store(tmp_path) as store:
        waiting = [tick.key.time for tick in store.open_ticks() if tick.state == "waiting"]
    assert MOST <= len(waiting) <= MOST + 1
    assert NOW + timedelta(days=2) - MOST * MINUTE <= waiting[0] <= NOW + timedelta(days=2)
    ticks = records(tmp_path, "nightly-1")
    assert len(ticks) == 7 * 24 * 60 - 1
    assert "at most 1,000 wait to be made up for, the latest" in (ticks[0].reason or "")


@pytest.mark.slow
@pytest.mark.parametrize("catch_up", CATCH_UPS)
def test_a_kill_at_any_place_leaves_every_tick_in_one_record(
    catch_up: CatchUp, memory: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(record_due, "STEP", 7 * HOUR)
    monkeypatch.setattr(record_due, "MOST", 3)
    begin, timing = utc(2026, 10, 24, 12), Timing("*/30 * * * *", "Europe/Berlin", catch_up=catch_up)
    world = World(memory, 0, begin, runs_for=MINUTE)
    world.inject(monkeypatch)
    for kill_at in range(1 + 4 * CATCH_UPS.index(catch_up), 600, 11):  # each its own places
        id = f"nightly-{kill_at}"
        add(memory, timing, begin, id)
        world.now, world.places, world.kill_at = begin, 0, kill_at
        for moment in (begin + 30 * HOUR, begin + 34 * HOUR, begin + 10 * HOUR, begin + 40 * HOUR):
            world.now = moment  # off for a day, behind, put back, and ahead again
            for _ in range(3):
                world.look()
                world.until(world.now + 2 * MINUTE)
            with Store(memory) as store:
                world.kill_at, killed_at = None, world.kill_at
                if moment == begin + 30 * HOUR:
                    store.change(id, paused=world.now)
                elif moment == begin + 34 * HOUR:
                    store.change(id, paused=None)
                world.kill_at = killed_at
        world.kill_at, places = None, world.places
        found = [tick.key.time for tick in records(memory, id) if tick.key.time <= world.now]
        assert found == list(Calendar(timing).between(begin, world.now)), kill_at
        assert max(world.ran.values()) == 1
        with Store(memory) as store:
            store.change(id, deleted=world.now)
        if kill_at >= places:
            break
    assert world.killed.total() > 12
    assert len(world.killed) > 4  # kinds of places


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A workspace whose database was written by commit 98a35c2."""
    shutil.copy(WRITTEN_BY_98A35C2, tmp_path / "schedules.db")
    return tmp_path


def check_old(workspace: Path) -> None:
    with Store(workspace) as store:
        assert [schedule.id for schedule in store.schedules()] == ["daily-1", "hourly-1", "nightly-1", "often-1"]
        gone = store.schedule("gone-1")
        assert gone is not None
        assert gone.deleted == utc(2026, 11, 3)
        ticks = [*records(workspace, "daily-1"), *records(workspace, "hourly-1")]
        states = Counter((tick.key.schedule, tick.state) for tick in ticks)
        assert store.read("PRAGMA user_version")[0][0] == schema.VERSION
    assert states == {
        ("daily-1", "missed"): 1, ("daily-1", "running"): 1, ("daily-1", "succeeded"): 1, ("hourly-1", "failed"): 2,
        ("hourly-1", "running"): 2, ("hourly-1", "skipped"): 9, ("hourly-1", "succeeded"): 33,
        ("hourly-1", "waiting"): 18,
    }  # fmt: skip


def test_a_database_of_an_older_version_is_read_and_goes_on(old: Path):
    check_old(old)
    # What was not written down then is not told of: its schedules say nothing of their files.
    assert {state.files for state in LocalTarget(Workspace(old)).schedules()} == {()}
    world = World(old, 0, utc(2026, 12, 4))
    for _ in range(40):
        world.look()
        world.until(world.now + 41 * MINUTE)
    for id in ("daily-1", "hourly-1", "nightly-1", "often-1"):
        with Store(old) as store:
            schedule = store.schedule(id)
        assert schedule is not None
        found = [tick.key.time for tick in records(old, id) if tick.origin != "hand"]
        assert found == list(Calendar(schedule.timing).between(schedule.created, world.now - MINUTE * 41)), id
    assert max(world.ran.values()) == 1


@pytest.mark.parametrize("killed", ["before the first table", "before the commit"])
def test_a_kill_while_an_older_database_is_brought_up_to_date_loses_nothing(killed: str, old: Path):
    code = "import os, sys\nfrom pathlib import Path\nfrom pipelines.schedules import schema, store\n"
    code += "upgrade = schema.upgrade\n"
    code += "def die(database, workspace):\n"
    code += "    if not database.in_transaction: return upgrade(database, workspace)\n"
    code += f"    {'upgrade(database, workspace); ' if 'commit' in killed else ''}os.kill(os.getpid(), 9)\n"
    code += "schema.upgrade = die\n"
    code += "store.Store(Path(sys.argv[1]))\n"
    assert subprocess.run([sys.executable, "-c", code, str(old)]).returncode == -signal.SIGKILL
    check_old(old)


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path):
    with Store(tmp_path) as store:
        store.write(f"PRAGMA user_version = {schema.VERSION + 1}")
    before = (tmp_path / "schedules.db").read_bytes()
    done = CliRunner().invoke(app, ["schedule", "list", "--workspace", str(tmp_path)])
    assert done.exit_code == 2
    newer = f"its format is {schema.VERSION + 1}, and this one reads up to {schema.VERSION}"
    assert f"was written by a newer version of ELBOflow: {newer}" in done.stderr
    assert (tmp_path / "schedules.db").read_bytes() == before
