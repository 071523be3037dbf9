"""Schedulers and their runs, killed at random moments, started twice, and given more than they can do."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.schedules.heartbeat import trouble
from pipelines.schedules.states import ACTIVE, Key, Range, Tick
from pipelines.schedules.store import Store
from pipelines.timing import Timing
from pipelines.timing.calendar import Calendar
from tests.pipelines.schedules.world import add, records

pytestmark = pytest.mark.slow

DAEMON = """
import subprocess, sys
from pathlib import Path
from pipelines.schedules.daemon import Daemon
from pipelines.schedules.launch import Processes, tick_folder

class Short(Processes):
    def start(self, key):
        tick_folder(self._workspace, key).mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-P", "-c", sys.argv[2], str(self._workspace), key.schedule, key.time.isoformat()]
        self._children[key] = subprocess.Popen(command, start_new_session=True)

workspace = Path(sys.argv[1])
with Daemon(workspace, Short(workspace), slots=3) as daemon:
    daemon.run()
"""
"""A scheduler as it is, but for its runs, which are short."""

RUN = """
import os, sys, time
from datetime import UTC, datetime
from pathlib import Path
from elboflow.artifacts.lock import hold
from pipelines.schedules.launch import LOCK, tick_folder
from pipelines.schedules.states import Key
from pipelines.schedules.store import Store

workspace, key = Path(sys.argv[1]), Key(sys.argv[2], datetime.fromisoformat(sys.argv[3]))
lock = hold(tick_folder(workspace, key) / LOCK)
if lock is not None:
    with Store(workspace) as store:
        if store.turn(key, "claimed", "running", process=os.getpid(), started=datetime.now(UTC), run=str(key)):
            with open(workspace / "ran", "a") as ran:
                ran.write(f"{key}\\n")
            time.sleep(0.2)
            store.turn(key, "running", "succeeded", ended=datetime.now(UTC), exit_code=0)
"""


@pytest.fixture
def started() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Processes that end with the test."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-P", "-m", "pipelines", *map(str, words)]


def test_40_ticks_under_kills_of_schedulers_and_runs_run_once_each_three_at_a_time(
    tmp_path: Path, started: list["subprocess.Popen[bytes]"]
):
    now, numbers = datetime.now(UTC), random.Random(1)
    timing = Timing("* * * * *", start=now - timedelta(minutes=10), end=now, max_active=5, catch_up="all")
    for name in ("a", "b", "c", "d"):
        add(tmp_path, timing, now - timedelta(minutes=10), f"{name}-1", name=name)
    due = {
        Key(f"{name}-1", time) for name in "abcd" for time in Calendar(timing).between(now - timedelta(minutes=10), now)
    }
    kills, most, deadline = 0, 0, time.monotonic() + 300
    while True:
        daemon = subprocess.Popen([sys.executable, "-P", "-c", DAEMON, str(tmp_path), RUN], stderr=subprocess.DEVNULL)
        started.append(daemon)
        end = time.monotonic() + numbers.uniform(0.3, 5)
        while time.monotonic() < end:
            with Store(tmp_path) as store:
                at_work = [tick for tick in store.open_ticks() if tick.state in ACTIVE]
            most = max(most, len(at_work))
            running = [tick.process for tick in at_work if tick.process is not None]
            if running and numbers.random() < 0.1:
                with suppress(ProcessLookupError):
                    os.kill(numbers.choice(running), signal.SIGKILL)
                kills += 1
            time.sleep(0.1)
        ticks = {tick.key: tick for name in "abcd" for tick in records(tmp_path, f"{name}-1")}
        if len(ticks) == len(due) and all(tick.state in ("succeeded", "failed") for tick in ticks.values()):
            break
        daemon.kill()
        daemon.wait()
        kills += 1
        assert time.monotonic() < deadline
    assert set(ticks) == due
    assert len(due) >= 40
    assert most <= 3
    assert kills >= 5
    ran = Counter((tmp_path / "ran").read_text(encoding="utf-8").splitlines())
    assert set(ran.values()) == {1}
    assert set(ran) == {str(key) for key, tick in ticks.items() if tick.process is not None}
    for tick in ticks.values():
        assert (
            tick.state == "succeeded"
            or "ended without a result" in (tick.reason or "")
            or "ended before" in (tick.reason or "")
        )


def test_of_schedulers_that_are_started_at_the_same_time_one_is_at_work(
    tmp_path: Path, started: list["subprocess.Popen[bytes]"]
):
    started += [
        subprocess.Popen(command("scheduler", "--workspace", tmp_path), stderr=subprocess.PIPE) for _ in range(5)
    ]
    deadline = time.monotonic() + 60
    while sum(process.poll() is None for process in started) > 1 or trouble(tmp_path) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    refused = [process for process in started if process.poll() is not None]
    assert [process.returncode for process in refused] == [2] * 4
    for process in refused:
        assert process.stderr is not None
        assert b"a scheduler is at work on" in process.stderr.read()


def test_a_pause_of_400_days_of_ten_minutely_schedules_keeps_the_scheduler_healthy(
    tmp_path: Path, started: list["subprocess.Popen[bytes]"]
):
    long_ago = datetime.now(UTC) - timedelta(days=400)
    for number in range(10):
        add(
            tmp_path,
            Timing("* * * * *", "Europe/Berlin"),
            long_ago,
            f"often-{number}",
            paused=long_ago + timedelta(hours=1),
        )
    scheduler = subprocess.Popen(command("scheduler", "--workspace", tmp_path), stderr=subprocess.DEVNULL)
    started.append(scheduler)
    deadline = time.monotonic() + 60
    while trouble(tmp_path) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    while True:
        assert trouble(tmp_path) is None
        with Store(tmp_path) as store:
            ranges = [
                r for n in range(10) for r in store.history(f"often-{n}", 9, datetime.now(UTC)) if isinstance(r, Range)
            ]
        if len(ranges) == 20:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert all(range.ticks >= 575_000 for range in ranges[::2])
    status = Path(f"/proc/{scheduler.pid}/status")
    if status.exists():
        (peak,) = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")]
        assert int(peak.split()[1]) < 250_000  # kB


def test_200_schedules_of_which_197_wait_are_listed_within_seconds(tmp_path: Path):
    now = datetime.now(UTC)
    for number in range(200):
        add(tmp_path, Timing("0 2 * * *", "Europe/Berlin"), now, f"model{number:03}-1", name=f"model{number:03}")
    with Store(tmp_path) as store, store.transaction():
        for number in range(200):
            key = Key(f"model{number:03}-1", now - timedelta(minutes=1))
            store.record([Tick(key, "tick", "running" if number < 3 else "waiting")])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command("schedule", "list", "--workspace", tmp_path), capture_output=True, encoding="utf-8")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "waiting (3rd of 197)" in done.stdout.splitlines()[6]
    assert len(done.stdout.splitlines()) == 201
    assert after.ru_utime - before.ru_utime < 10
    listed = subprocess.run(command("schedule", "list", "--json", "--workspace", tmp_path), capture_output=True)
    assert len(json.loads(listed.stdout)["schedules"]) == 200
