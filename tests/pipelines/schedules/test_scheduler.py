"""The scheduler as a process: one for a workspace, killed and started anew, its clock put forth and back."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import time_machine

from elboflow.settings import WorkError
from pipelines.schedules import capacity
from pipelines.schedules.calendar import Calendar
from pipelines.schedules.daemon import Daemon
from pipelines.schedules.heartbeat import places
from pipelines.schedules.states import Key, Tick
from pipelines.schedules.store import Store
from pipelines.targets import Timing
from tests.pipelines.schedules.world import add, records, utc

FAILS_AT_ONCE = {
    "name": "absent",
    "data": {
        "source": {"kind": "npz", "path": "absent.npz"},
        "features": {"image": {"kind": "image", "shape": [8, 8, 1], "range": [0, 16]}, "label": "category"},
    },
}
"""An experiment whose run is a real one, and ends as soon as it has looked for its data."""


def elboflow(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "pipelines", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", timeout=120)


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts schedulers, which end with the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(clock: datetime | None = None, *options: str) -> "subprocess.Popen[str]":
        lines = ["import sys, time_machine", "from datetime import datetime", "from pipelines.cli import main"]
        lines += [f"time_machine.travel(datetime.fromisoformat('{clock.isoformat()}')).start()"] if clock else []
        command = [sys.executable, "-P", "-c", "\n".join([*lines, "main()"]), "scheduler", *options]
        command += ["--workspace", str(tmp_path)]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8"))
        assert started[-1].stderr is not None
        assert "is at work on" in started[-1].stderr.readline()
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def wait_for(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
    return found


def ticks(workspace: Path, schedule: str) -> list[Tick]:
    return records(workspace, schedule)


def said(process: "subprocess.Popen[str]") -> str:
    return process.communicate(timeout=30)[1]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_scheduler_in_order(ending: signal.Signals, start: Start):
    scheduler = start()
    scheduler.send_signal(ending)
    told = said(scheduler)
    assert scheduler.returncode == 0
    assert told.splitlines()[-1] == "the scheduler ends; no run is at work"
    assert "Traceback" not in told


def test_a_second_scheduler_of_a_workspace_is_refused_and_told_the_process_of_the_first(start: Start, tmp_path: Path):
    first = start()
    second = elboflow("scheduler", "--workspace", tmp_path, folder=tmp_path)
    assert second.returncode == 2
    assert f"a scheduler is at work on {tmp_path} already: process {first.pid} on" in second.stderr
    first.kill()
    first.wait()
    assert start().poll() is None


def test_how_many_runs_it_lets_be_at_work_is_said_by_an_option_or_by_what_the_machine_carries(
    start: Start, tmp_path: Path
):
    for options, expected in ((("--max-runs", "7"), 7), ((), capacity.places())):
        scheduler = start(None, *options)
        with Store(tmp_path) as store:
            assert places(store) == expected
        scheduler.send_signal(signal.SIGTERM)
        said(scheduler)
    refused = elboflow("scheduler", "--max-runs", "0", "--workspace", tmp_path, folder=tmp_path)
    assert refused.returncode == 2


def test_check_tells_whether_a_scheduler_is_at_work_by_its_exit_code(start: Start, tmp_path: Path):
    assert elboflow("scheduler", "--check", "--workspace", tmp_path, folder=tmp_path).returncode == 1
    scheduler = start()

    def checked() -> subprocess.CompletedProcess[str]:
        return elboflow("scheduler", "--check", "--workspace", tmp_path, folder=tmp_path)

    done = checked()
    assert (done.returncode, str(scheduler.pid) in done.stderr) == (0, True)
    scheduler.send_signal(signal.SIGSTOP)  # it hangs: it holds its lock and says no more that it lives
    with Store(tmp_path) as store:
        store.write("UPDATE daemon SET heartbeat = ?", (datetime.now(UTC) - timedelta(minutes=2)).isoformat())
    hangs = checked()
    assert hangs.returncode == 1
    assert "has not said since" in hangs.stderr
    scheduler.send_signal(signal.SIGCONT)
    wait_for(lambda: checked().returncode == 0, 20)
    scheduler.kill()
    scheduler.wait()
    gone = checked()
    assert gone.returncode == 1
    assert "no scheduler is at work" in gone.stderr


def test_what_other_processes_change_is_known_within_seconds(start: Start, tmp_path: Path):
    start(utc(2026, 11, 22, 1, 59, 50))
    nightly = add(tmp_path, Timing("0 2 * * *"), utc(2026, 11, 22), "nightly-1")
    with Store(tmp_path) as store:
        store.change(add(tmp_path, Timing("0 2 * * *"), utc(2026, 11, 22), "paused-1").id, paused=utc(2026, 11, 22, 1))
        store.change(
            add(tmp_path, Timing("0 2 * * *"), utc(2026, 11, 22), "deleted-1").id, deleted=utc(2026, 11, 22, 1)
        )
    wait_for(lambda: [tick.state for tick in ticks(tmp_path, nightly.id)] == ["failed"], 60)
    assert ticks(tmp_path, nightly.id)[0].key.time == utc(2026, 11, 22, 2)
    assert [tick.reason for tick in ticks(tmp_path, "paused-1")] == ["the schedule was paused"]
    assert ticks(tmp_path, "deleted-1") == []


@pytest.mark.slow
def test_schedulers_killed_again_and_again_run_every_tick_once_in_processes_that_outlive_them(
    start: Start, tmp_path: Path
):
    now, numbers = datetime.now(UTC), random.Random(0)
    timing = Timing("* * * * *", start=now - timedelta(minutes=6), end=now, max_active=2, catch_up="all")
    schedule = add(tmp_path, timing, now - timedelta(minutes=6), "absent-1", experiment=FAILS_AT_ONCE)
    due = list(Calendar(timing).between(schedule.settled, now))
    kills = 0
    deadline = time.monotonic() + 240
    while len([tick for tick in ticks(tmp_path, schedule.id) if tick.state == "failed"]) < len(due):
        scheduler = start()
        time.sleep(numbers.uniform(0.0, 2.5))
        scheduler.kill()
        scheduler.wait()
        kills += 1
        assert time.monotonic() < deadline
    assert kills >= 3
    records = ticks(tmp_path, schedule.id)
    assert [tick.key.time for tick in records] == due
    runs = Counter(tick.run for tick in records)
    assert set(runs.values()) == {1}
    for tick in records:
        log = (tmp_path / "schedules" / schedule.id / tick.key.folder / "log.txt").read_text(encoding="utf-8")
        assert log.count("error: ") == 1, log
        assert tick.reason is not None
        assert "absent.npz" in tick.reason
        assert tick.exit_code == 2


class Launches:
    """A launcher that starts nothing: it lets each tick succeed at once, and remembers it."""

    def __init__(self, workspace: Path) -> None:
        self.workspace, self.started = workspace, list[Key]()
        self.trouble: Exception | None = None

    def start(self, key: Key) -> None:
        self.started.append(key)
        with Store(self.workspace) as store:
            assert store.turn(key, "claimed", "running", process=1, started=datetime.now(UTC), run=str(key))
            assert store.turn(key, "running", "succeeded", ended=datetime.now(UTC), exit_code=0)

    def reap(self) -> set[Key]:
        if self.trouble is not None:
            raise self.trouble
        return set()

    def at_work(self, key: Key) -> bool:
        return False

    def count_is(self, number: int) -> bool:
        return len(self.started) == number


@contextmanager
def at_work(workspace: Path, trouble: Exception | None = None) -> Iterator[Launches]:
    """A scheduler in this process, on this process' clock."""
    launches = Launches(workspace)
    launches.trouble = trouble
    with Daemon(workspace, launches) as daemon:
        thread = threading.Thread(target=daemon.run)
        thread.start()
        try:
            yield launches
        finally:
            daemon.stop()
            thread.join(30)
    assert not thread.is_alive()


@pytest.mark.slow
def test_a_scheduler_whose_clock_jumps_forth_and_back_runs_every_tick_once(tmp_path: Path):
    schedule = add(tmp_path, Timing("0 2 * * *"), utc(2026, 11, 21, 12))
    nights = [utc(2026, 11, day, 2) for day in (22, 23, 24)]
    with time_machine.travel(nights[0] - timedelta(seconds=1.5), tick=True) as clock, at_work(tmp_path) as launches:
        wait_for(lambda: len(launches.started) == 1, 10)
        clock.shift(timedelta(hours=-3))
        time.sleep(2.5)
        clock.shift(timedelta(hours=3))  # the tick's time comes again
        time.sleep(2.5)
        assert [key.time for key in launches.started] == nights[:1]
        clock.move_to(nights[1] + timedelta(hours=1), tick=True)
        wait_for(lambda: len(ticks(tmp_path, schedule.id)) == 2, 10)
        clock.move_to(nights[2] - timedelta(seconds=1.5), tick=True)
        wait_for(lambda: len(launches.started) == 2, 10)
    assert [key.time for key in launches.started] == [nights[0], nights[2]]
    records = ticks(tmp_path, schedule.id)
    assert [tick.state for tick in records] == ["succeeded", "missed", "succeeded"]
    assert "the clock jumped past it" in (records[1].reason or "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "tick"),
    [(utc(2026, 3, 29, 0, 59, 30), utc(2026, 3, 29, 1, 30)), (utc(2026, 10, 25, 0, 0), utc(2026, 10, 25, 0, 30))],
)
def test_a_scheduler_runs_one_tick_in_a_night_on_which_the_clocks_are_put(
    before: datetime, tick: datetime, tmp_path: Path
):
    add(tmp_path, Timing("30 2 * * *", "Europe/Berlin"), before)
    with time_machine.travel(before, tick=True) as clock, at_work(tmp_path) as launches:
        for hour in range(4):  # every real hour of the night, in which the wall shows 02:30 never, or twice
            clock.move_to(before.replace(minute=29, second=58) + timedelta(hours=hour), tick=True)
            time.sleep(3)
        assert [key.time for key in launches.started] == [tick]


@pytest.mark.slow
def test_ticks_are_punctual(tmp_path: Path):
    add(tmp_path, Timing("* * * * *"), utc(2026, 11, 22, 1))
    with time_machine.travel(utc(2026, 11, 22, 1, 0, 30), tick=True) as clock, at_work(tmp_path) as launches:
        for minute in (1, 2, 3):
            clock.move_to(utc(2026, 11, 22, 1, minute) - timedelta(seconds=3), tick=True)
            time.sleep(2.5)  # it has noticed the jump, and set its alarm
            wait_for(partial(launches.count_is, minute), 10)
            assert datetime.now(UTC) - launches.started[-1].time < timedelta(seconds=2)
    assert all(key.time.second == 0 for key in launches.started)


def test_a_folder_in_which_a_schedule_was_made_and_that_is_gone_is_a_failure_that_says_so(start: Start, tmp_path: Path):
    schedule = add(tmp_path, Timing("0 2 * * *"), utc(2026, 11, 22), folder=str(tmp_path / "gone"))
    start(utc(2026, 11, 22, 1, 59, 57))
    wait_for(lambda: [tick.state for tick in ticks(tmp_path, schedule.id)] == ["failed"])
    assert "in which the schedule was made, is no longer there" in (ticks(tmp_path, schedule.id)[0].reason or "")


def test_a_draining_scheduler_launches_nothing_more_and_ends_after_the_runs_at_work(start: Start, tmp_path: Path):
    schedule = add(tmp_path, Timing("* * * * *"), utc(2026, 11, 22, 2), "absent-1", experiment=FAILS_AT_ONCE)
    scheduler = start(utc(2026, 11, 22, 2, 0, 58), "--drain")
    (tick,) = wait_for(lambda: [tick for tick in ticks(tmp_path, schedule.id) if tick.state == "running"])
    assert tick.process is not None
    os.kill(tick.process, signal.SIGSTOP)  # the run shall not end before the scheduler is told to
    scheduler.send_signal(signal.SIGTERM)
    time.sleep(1)
    os.kill(tick.process, signal.SIGCONT)
    told = said(scheduler)
    assert scheduler.returncode == 0
    (after,) = ticks(tmp_path, schedule.id)
    assert (after.key, after.state, after.exit_code) == (tick.key, "failed", 2)
    assert "launching nothing more; waiting for 1 run" in told
    assert told.splitlines()[-1] == "the scheduler ends; no run is at work"


class Lasting(Launches):
    """A launcher whose runs go on until a test says otherwise."""

    def start(self, key: Key) -> None:
        self.started.append(key)
        with Store(self.workspace) as store:
            assert store.turn(key, "claimed", "running", process=1, started=datetime.now(UTC), run=str(key))

    def at_work(self, key: Key) -> bool:
        return key in self.started


def test_a_draining_scheduler_waits_until_it_is_stopped_once_more(tmp_path: Path):
    add(tmp_path, Timing("* * * * *", max_active=9), datetime.now(UTC) - timedelta(minutes=1))
    runs = Lasting(tmp_path)
    with Daemon(tmp_path, runs, drain=True) as daemon:
        thread = threading.Thread(target=daemon.run)
        thread.start()
        wait_for(lambda: runs.started, 10)
        with time_machine.travel(datetime.now(UTC), tick=True) as clock:
            daemon.stop()
            time.sleep(1.5)
            clock.shift(timedelta(minutes=2))  # what is due now is the next one's
            thread.join(2)
            assert thread.is_alive()
            daemon.stop()
            thread.join(5)
    assert not thread.is_alive()
    assert len(runs.started) == 1


def test_a_run_by_hand_that_died_is_noticed_by_a_scheduler_that_has_nothing_else_to_do(tmp_path: Path):
    add(tmp_path, Timing("0 0 1 1 *"), datetime.now(UTC))
    with at_work(tmp_path):
        time.sleep(1.5)
        with Store(tmp_path) as store:
            store.record([Tick(Key("nightly-1", datetime.now(UTC)), "hand", "running", process=1, run="dead")])
        wait_for(lambda: ticks(tmp_path, "nightly-1")[0].state == "failed", 10)
    assert "its processes ended without a word" in (ticks(tmp_path, "nightly-1")[0].reason or "")


def test_a_schedule_whose_timezone_is_gone_keeps_no_other_from_ticking_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", logger="elboflow.schedules")
    add(tmp_path, Timing("* * * * *", "Europe/Gone"), datetime.now(UTC) - timedelta(minutes=3), "broken-1")
    add(tmp_path, Timing("* * * * *"), datetime.now(UTC) - timedelta(minutes=1), "well-1")
    with at_work(tmp_path) as launches:
        wait_for(lambda: launches.started, 10)
        time.sleep(6)
    assert {key.schedule for key in launches.started} == {"well-1"}
    told = [record.message for record in caplog.records if "broken-1 cannot tick" in record.message]
    assert len(told) == 1
    assert "timezone 'Europe/Gone'" in told[0]


@pytest.mark.parametrize(
    "error", [OSError("No space left on device"), sqlite3.IntegrityError("UNIQUE"), WorkError("x")]
)
def test_an_error_that_may_pass_does_not_end_the_scheduler_and_is_told_once(
    error: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", logger="elboflow.schedules")
    add(tmp_path, Timing("* * * * *"), datetime.now(UTC) - timedelta(minutes=1))
    with at_work(tmp_path, error) as launches:
        time.sleep(3.5)
        assert not launches.started
        launches.trouble = None
        wait_for(lambda: launches.started, 10)
    assert [record.message for record in caplog.records].count(str(error)) == 1
    assert len([record for record in caplog.records if "1 schedule: " in record.message]) == 1


@pytest.mark.parametrize("is_moved_away", [False, True])
def test_many_processes_that_open_a_new_workspace_at_once_all_find_its_tables(is_moved_away: bool, tmp_path: Path):
    if is_moved_away:
        (tmp_path / "schedules" / "nightly-1").mkdir(parents=True)  # logs of the schedules that were
    code = (
        f"from pathlib import Path; from pipelines.schedules.store import Store; Store(Path('{tmp_path}')).schedules()"
    )
    opened = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(8)]
    errors = [process.communicate(timeout=60)[1].decode() for process in opened]
    assert [process.returncode for process in opened] == [0] * 8, errors
