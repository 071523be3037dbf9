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
from pathlib import Path
from typing import Any

import pytest
import time_machine
from typer.testing import CliRunner, Result

from elboflow.settings import WorkError
from pipelines.cli import app
from pipelines.schedules import capacity
from pipelines.schedules import tick as tick_process
from pipelines.schedules.daemon import Daemon
from pipelines.schedules.heartbeat import places
from pipelines.schedules.launch import tick_folder
from pipelines.schedules.states import Key, Tick
from pipelines.schedules.store import Store
from pipelines.timing import Timing
from pipelines.timing.calendar import Calendar
from tests.pipelines.schedules.world import add, records, utc

FAILS_AT_ONCE = {
    "name": "absent",
    "data": {
        "source": {"kind": "npz", "path": "absent.npz"},
        "features": {"image": {"kind": "image", "shape": [8, 8, 1], "range": [0, 16]}, "label": "category"},
    },
}
"""An experiment whose run is a real one, and ends as soon as it has looked for its data."""


def elboflow(*arguments: str | Path) -> Result:
    """A command in this process."""
    return CliRunner().invoke(app, [*map(str, arguments)])


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
    first = start(None, "--max-runs", "7")
    second = elboflow("scheduler", "--workspace", tmp_path)
    assert second.exit_code == 2
    assert f"a scheduler is at work on {tmp_path} already: process {first.pid} on" in second.stderr
    with Store(tmp_path) as store:
        assert places(store) == 7
    first.kill()
    first.wait()
    with Daemon(tmp_path, Launches(tmp_path)), Store(tmp_path) as store:
        assert places(store) == capacity.slots()


def test_a_scheduler_that_lets_no_run_at_once_is_refused(tmp_path: Path):
    assert elboflow("scheduler", "--max-runs", "0", "--workspace", tmp_path).exit_code == 2


@pytest.mark.slow
def test_check_tells_whether_a_scheduler_is_at_work_by_its_exit_code(start: Start, tmp_path: Path):
    def checked() -> Result:
        return elboflow("scheduler", "--check", "--workspace", tmp_path)

    assert checked().exit_code == 1
    scheduler = start()
    wait_for(lambda: checked().exit_code == 0, 20)
    assert str(scheduler.pid) in checked().stderr
    scheduler.send_signal(signal.SIGSTOP)  # it hangs: it holds its lock and writes no heartbeat
    with Store(tmp_path) as store:
        store.write("UPDATE daemon SET heartbeat = ?", (datetime.now(UTC) - timedelta(minutes=2)).isoformat())
    hangs = checked()
    assert hangs.exit_code == 1
    assert "has not said since" in hangs.stderr
    scheduler.send_signal(signal.SIGCONT)
    wait_for(lambda: checked().exit_code == 0, 20)
    scheduler.kill()
    scheduler.wait()
    gone = checked()
    assert gone.exit_code == 1
    assert "no scheduler is at work" in gone.stderr


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

    def is_running(self, key: Key) -> bool:
        return False


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[Daemon, Launches]]:
    """A scheduler in this process, whose passes a test calls for, on a clock that a test puts."""
    launches = Launches(tmp_path)
    with Daemon(tmp_path, launches) as daemon:
        yield daemon, launches


Scheduler = tuple[Daemon, Launches]


def test_what_other_processes_change_is_known_at_the_next_pass(scheduler: Scheduler, tmp_path: Path):
    daemon, launches = scheduler
    evening = utc(2026, 11, 21, 20)
    with time_machine.travel(utc(2026, 11, 22, 1, 59), tick=False) as clock:
        daemon.look()
        for id in ("nightly-1", "paused-1", "deleted-1"):
            add(tmp_path, Timing("0 2 * * *"), evening, id)
        with Store(tmp_path) as store:
            store.change("paused-1", paused=evening)
            store.change("deleted-1", deleted=evening)
        daemon.look()
        assert not launches.started
        clock.move_to(utc(2026, 11, 22, 2), tick=False)
        daemon.look()
    assert launches.started == [Key("nightly-1", utc(2026, 11, 22, 2))]
    assert [tick.reason for tick in ticks(tmp_path, "paused-1")] == ["the schedule was paused"]
    assert ticks(tmp_path, "deleted-1") == []


def test_a_scheduler_whose_clock_jumps_forth_and_back_runs_every_tick_once(
    scheduler: Scheduler, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    daemon, launches = scheduler
    schedule = add(tmp_path, Timing("0 2 * * *"), utc(2026, 11, 21, 12))
    nights = [utc(2026, 11, day, 2) for day in (22, 23, 24)]
    hour = timedelta(hours=1)
    with time_machine.travel(nights[0], tick=False) as clock:
        for moment in (nights[0], nights[0] - 3 * hour, nights[0], nights[1] + hour, nights[2]):
            clock.move_to(moment, tick=False)
            daemon.look()
    assert [key.time for key in launches.started] == [nights[0], nights[2]]
    records = ticks(tmp_path, schedule.id)
    assert [tick.state for tick in records] == ["succeeded", "missed", "succeeded"]
    assert "the clock jumped past it" in (records[1].reason or "")
    assert "the clock jumped by -10800 s" in caplog.text


@pytest.mark.parametrize(
    ("midnight", "tick"),
    [(utc(2026, 3, 28, 23), utc(2026, 3, 29, 1)), (utc(2026, 10, 24, 22), utc(2026, 10, 25, 0, 30))],
)
def test_a_scheduler_runs_one_tick_in_a_night_on_which_the_clocks_are_put(
    midnight: datetime, tick: datetime, scheduler: Scheduler, tmp_path: Path
):
    daemon, launches = scheduler
    add(tmp_path, Timing("30 2 * * *", "Europe/Berlin"), midnight)
    with time_machine.travel(midnight, tick=False) as clock:
        for minutes in range(0, 6 * 60, 10):
            clock.move_to(midnight + timedelta(minutes=minutes), tick=False)
            daemon.look()
    assert [key.time for key in launches.started] == [tick]


@contextmanager
def running(daemon: Daemon) -> Iterator[threading.Thread]:
    """Lets a scheduler run by itself, in a thread."""
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield thread
    finally:
        daemon.stop()
        daemon.stop()  # also one that drains
        thread.join(30)
    assert not thread.is_alive()


def test_ticks_are_punctual(scheduler: Scheduler, tmp_path: Path):
    daemon, launches = scheduler
    add(tmp_path, Timing("* * * * *"), utc(2026, 11, 22, 1))
    with time_machine.travel(utc(2026, 11, 22, 1, 1) - timedelta(seconds=1.3), tick=True), running(daemon):
        wait_for(lambda: launches.started, 10)
        assert datetime.now(UTC) - launches.started[0].time < timedelta(seconds=1)


def test_a_folder_in_which_a_schedule_was_made_and_that_is_gone_is_a_failure_that_says_so(tmp_path: Path):
    schedule = add(tmp_path, Timing("0 2 * * *"), utc(2026, 11, 22), folder=str(tmp_path / "gone"))
    key = Key(schedule.id, utc(2026, 11, 22, 2))
    with Store(tmp_path) as store:
        store.record([Tick(key, "tick", "claimed")])
    tick_folder(tmp_path, key).mkdir(parents=True)
    tick_process.main(tmp_path, key)
    (tick,) = ticks(tmp_path, schedule.id)
    assert tick.state == "failed"
    assert "in which the schedule was made, is no longer there" in (tick.reason or "")


@pytest.mark.slow
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

    def is_running(self, key: Key) -> bool:
        return key in self.started


def test_a_draining_scheduler_waits_until_it_is_stopped_once_more(tmp_path: Path):
    add(tmp_path, Timing("* * * * *", max_active=9), datetime.now(UTC) - timedelta(minutes=1))
    runs = Lasting(tmp_path)
    with Daemon(tmp_path, runs, drain=True) as daemon, running(daemon) as thread:
        wait_for(lambda: runs.started, 10)
        with time_machine.travel(datetime.now(UTC), tick=True) as clock:
            daemon.stop()
            clock.shift(timedelta(minutes=2))  # what is due now is the next one's
            thread.join(2.5)
            assert thread.is_alive()
            daemon.stop()
            thread.join(5)
    assert len(runs.started) == 1


def test_a_run_by_hand_that_died_is_noticed_by_a_scheduler_that_has_nothing_else_to_do(
    scheduler: Scheduler, tmp_path: Path
):
    daemon, _ = scheduler
    add(tmp_path, Timing("0 0 1 1 *"), datetime.now(UTC))
    daemon.look()
    with Store(tmp_path) as store:
        store.record([Tick(Key("nightly-1", datetime.now(UTC)), "hand", "running", process=1, run="dead")])
    daemon.look()
    (tick,) = ticks(tmp_path, "nightly-1")
    assert tick.state == "failed"
    assert "its processes ended without a result" in (tick.reason or "")


def test_a_schedule_whose_timezone_is_gone_keeps_no_other_from_ticking_and_is_told_once(
    scheduler: Scheduler, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", logger="elboflow.schedules")
    daemon, launches = scheduler
    add(tmp_path, Timing("* * * * *", "Europe/Gone"), datetime.now(UTC) - timedelta(minutes=3), "broken-1")
    add(tmp_path, Timing("* * * * *"), datetime.now(UTC) - timedelta(minutes=1), "well-1")
    for _ in range(3):
        daemon.look()
    assert {key.schedule for key in launches.started} == {"well-1"}
    told = [record.message for record in caplog.records if "broken-1 cannot tick" in record.message]
    assert len(told) == 1
    assert "timezone 'Europe/Gone'" in told[0]


@pytest.mark.parametrize(
    "error", [OSError("No space left on device"), sqlite3.IntegrityError("UNIQUE"), WorkError("x")]
)
def test_an_error_that_may_pass_does_not_end_the_scheduler_and_is_told_once(
    error: Exception, scheduler: Scheduler, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", logger="elboflow.schedules")
    daemon, launches = scheduler
    add(tmp_path, Timing("* * * * *"), datetime.now(UTC) - timedelta(minutes=1))
    launches.trouble = error
    for _ in range(3):
        daemon.look()
    assert not launches.started
    launches.trouble = None
    daemon.look()
    assert launches.started
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
