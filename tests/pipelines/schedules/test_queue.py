"""No more runs are at work at once than the machine carries: the others wait in line, in their order."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.schedules import capacity
from pipelines.schedules.heartbeat import announce
from pipelines.schedules.local import LocalTarget
from pipelines.schedules.states import ACTIVE, Key, Tick
from pipelines.schedules.store import Store
from pipelines.timing import Timing
from pipelines.workspace import Workspace
from tests.pipelines.schedules.world import Child, World, add, records, utc

BEGIN, NIGHT = utc(2026, 11, 21, 12), utc(2026, 11, 22, 2)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def nightly(workspace: Path, *names: str, catch_up: Literal["none", "last", "all"] = "none") -> None:
    for name in names:
        add(workspace, Timing("0 2 * * *", catch_up=catch_up), BEGIN, f"{name}-1", name=name)


def states(workspace: Path, id: str) -> list[str]:
    return [f"{tick.key.time:%d} {tick.origin} {tick.state}" for tick in records(workspace, id)]


def at_work(workspace: Path) -> int:
    with Store(workspace) as store:
        return sum(tick.state in ACTIVE for tick in store.open_ticks())


def test_of_60_schedules_at_the_same_time_three_run_at_once_and_all_run_in_the_order_of_their_names(memory: Path):
    names = [f"model{number:03}" for number in range(60)]
    nightly(memory, *reversed(names))
    world, most, order = World(memory, 0, BEGIN, runs_for=5 * MINUTE), 0, list[str]()
    world.max_runs = 3
    world.until(NIGHT)
    while len(world.ran) < 60 or world.children:
        world.look()
        most = max(most, at_work(memory), len(world.children))
        world.until(world.now + 10 * MINUTE)
        order += [key.schedule for key in world.ran if key.schedule not in order]
        assert world.now < NIGHT + 2 * DAY
    assert most == 3
    at_once = [sorted(order[first : first + 3]) for first in range(0, 60, 3)]
    assert [id for ids in at_once for id in ids] == [f"{name}-1" for name in names]
    assert set(world.ran.values()) == {1}


def test_kills_at_random_let_no_more_run_at_once_and_none_twice_or_never(memory: Path, monkeypatch: pytest.MonkeyPatch):
    nightly(memory, *(f"model{number:02}" for number in range(20)), catch_up="last")
    world = World(memory, 7, BEGIN, runs_for=30 * MINUTE)
    world.inject(monkeypatch)
    world.max_runs, world.kills = 2, 0.03
    world.until(NIGHT)
    for _ in range(3000):
        world.kills = 0.03
        world.look()
        world.kills = 0.0
        assert at_work(memory) <= 2
        assert len({child.key for child in world.children}) <= 2
        world.until(world.now + MINUTE)
        with Store(memory) as store:
            if len(world.ran) >= 18 and not store.open_ticks():
                break
    ticks = [tick for number in range(20) for tick in records(memory, f"model{number:02}-1")]
    assert [tick.key.time for tick in ticks if tick.key.time == NIGHT] == [NIGHT] * 20
    assert {tick.state for tick in ticks if tick.key.time == NIGHT} <= {"succeeded", "failed"}
    assert max(world.ran.values()) == 1
    assert world.killed.total() > 15


def test_earlier_ticks_come_first_and_a_backlog_comes_after_all_that_is_in_time(tmp_path: Path):
    add(tmp_path, Timing("0 * * * *", catch_up="all"), NIGHT - 5 * HOUR, "backlog-1", name="backlog")
    add(tmp_path, Timing("2 2 * * *"), BEGIN, "a-1", name="a")
    add(tmp_path, Timing("0 2 * * *"), BEGIN, "b-1", name="b")
    world = World(tmp_path, 0, BEGIN, runs_for=MINUTE)
    world.max_runs = 1
    world.until(NIGHT + 3 * MINUTE)
    for _ in range(12):
        world.look()
        world.until(world.now + 2 * MINUTE)
    assert [key.schedule for key in world.ran] == ["b-1", "a-1", *["backlog-1"] * 5]
    assert [key.time for key in world.ran][2:] == [NIGHT - hours * HOUR for hours in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("catch_up", "after"),
    [
        ("none", ["22 tick waiting", "23 tick skipped", "24 tick skipped"]),
        ("last", ["22 tick waiting", "23 tick skipped", "24 tick skipped"]),
        ("all", ["22 tick waiting", "23 tick waiting", "24 tick waiting"]),
    ],
)
def test_a_newer_tick_does_not_take_the_place_of_one_that_waits(
    catch_up: Literal["none", "last", "all"], after: list[str], tmp_path: Path
):
    nightly(tmp_path, "a")
    nightly(tmp_path, "z", catch_up=catch_up)
    world = World(tmp_path, 0, BEGIN, runs_for=999 * DAY)
    world.max_runs = 1
    for night in range(3):
        world.until(NIGHT + night * DAY)
        world.look()
    assert states(tmp_path, "z-1") == after
    if catch_up == "none":
        reason = records(tmp_path, "z-1")[1].reason
        assert reason == "the tick of 2026-11-22 02:00 UTC waits for its turn, and max_active is 1"


def run_by_hand(world: World, id: str, until: datetime) -> None:
    """Lets a run that a person started be at work."""
    key = Key(id, NIGHT - HOUR)
    with Store(world.workspace) as store:
        store.record([Tick(key, "hand", "running", process=1, run="by-hand")])
    world.children.append(Child(key, key.time, until, "running"))


def test_of_what_waits_to_be_made_up_for_only_the_last_stays_where_the_last_is_made_up_for(tmp_path: Path):
    nightly(tmp_path, "a")
    world = World(tmp_path, 0, NIGHT - HOUR)
    world.max_runs = 1
    run_by_hand(world, "a-1", NIGHT + 9 * DAY)
    nightly(tmp_path, "z", catch_up="last")
    for moment in (NIGHT + HOUR, NIGHT + 2 * DAY + HOUR):
        world.until(moment)
        world.look()
    assert states(tmp_path, "z-1") == ["22 catch-up missed", "23 tick missed", "24 catch-up waiting"]


@pytest.fixture
def waiting(tmp_path: Path) -> World:
    """A run at work, and two that wait for its place."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    for name in ("a", "b", "c"):
        add(tmp_path, Timing("* * * * *"), now - MINUTE, f"{name}-1", name=name)
    world = World(tmp_path, 0, now, runs_for=999 * DAY)
    world.max_runs = 1
    world.look()
    with Store(tmp_path) as store:
        announce(store, 1)
    return world


def last(workspace: Path, id: str) -> str:
    return records(workspace, id)[-1].state


def does(workspace: Path, *words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--workspace", str(workspace)])
    assert done.exit_code == 0, done.stderr
    return done.stdout + done.stderr


def test_the_tables_say_what_waits_and_at_which_place(waiting: World):
    folder = waiting.workspace
    rows = does(folder, "schedule", "list").splitlines()[1:]
    assert ["waiting (2nd of 2)" in row for row in rows] == [False, False, True]
    assert "waiting (1st of 2)" in rows[1]
    assert "waiting (2nd of 2)" in does(folder, "schedule", "history", "c-1")
    assert "waiting (2nd of 2)" in does(folder, "schedule", "show", "c-1")
    assert "2 runs of schedules wait in line; 1 may be at work at once: " in does(folder, "runs")
    (tick,) = json.loads(does(folder, "schedule", "history", "c-1", "--json"))["history"]
    assert (tick["record"], tick["place"], tick["line"], tick["status"]) == ("waiting", 2, 2, "pending")


def test_what_waits_can_be_cancelled_by_pausing_or_deleting_its_schedule(waiting: World):
    workspace = Workspace(waiting.workspace)
    LocalTarget(workspace).pause("b-1")
    LocalTarget(workspace).delete("c-1")
    (paused,), (deleted,) = records(workspace.folder, "b-1"), records(workspace.folder, "c-1")
    assert (paused.state, paused.reason) == ("skipped", "the schedule was paused while it waited")
    assert (deleted.state, deleted.reason) == ("skipped", "the schedule was deleted")
    waiting.power_fails()
    waiting.look()
    LocalTarget(workspace).resume("b-1")
    waiting.look()
    assert [key for key in waiting.ran if key.schedule != "a-1"] == []


def test_a_tick_that_came_just_before_its_schedule_was_paused_does_not_wait_for_the_end_of_the_pause(tmp_path: Path):
    nightly(tmp_path, "a")
    with Store(tmp_path) as store:
        store.change("a-1", paused=NIGHT + timedelta(seconds=1))
    world = World(tmp_path, 0, NIGHT + timedelta(seconds=2))
    world.look()
    (tick,) = records(tmp_path, "a-1")
    assert (tick.state, tick.reason) == ("skipped", "the schedule was paused")


def test_what_waits_is_known_to_the_next_scheduler_and_it_may_let_fewer_run_at_once(memory: Path):
    nightly(memory, *"abcdef")
    world = World(memory, 0, BEGIN, runs_for=MINUTE)
    world.max_runs = 3
    world.until(NIGHT)
    world.look()
    assert at_work(memory) == 3
    world.power_fails()  # three had a place, and no process
    world.max_runs, most = 1, 0
    for _ in range(40):
        world.look()
        most = max(most, len(world.children))
        world.until(world.now + MINUTE)
    assert most == 1
    assert [key.schedule for key in world.ran] == [f"{name}-1" for name in "abcdef"]


def test_a_run_by_hand_takes_a_place(tmp_path: Path):
    nightly(tmp_path, "a", "b")
    world = World(tmp_path, 0, NIGHT - HOUR)
    world.max_runs = 1
    run_by_hand(world, "a-1", NIGHT + DAY)
    world.until(NIGHT)
    world.look()
    assert states(tmp_path, "b-1") == ["22 tick waiting"]


@pytest.fixture
def system(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    return tmp_path


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_places_are_one_for_every_two_cores_and_four_gibibytes(system: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(capacity.os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(capacity.os, "sysconf", {"SC_PHYS_PAGES": 2**26, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert capacity.slots(system) == 32  # 64 cores, 256 GiB, in no cgroup
    put(system, proc__self__cgroup="0::/pod/container\n")
    put(system, sys__fs__cgroup__pod__cpu_DOT_max="800000 100000\n", sys__fs__cgroup__pod__memory_DOT_max="max\n")
    assert (capacity.cores(system), capacity.slots(system)) == (8.0, 4)  # of the pod that it lies in
    put(system, sys__fs__cgroup__pod__container__memory_DOT_max=str(9 * 2**30))
    put(system, sys__fs__cgroup__pod__container__cpu_DOT_max="max 100000")
    assert capacity.slots(system) == 2
    put(system, sys__fs__cgroup__pod__container__cpu_DOT_max="50000 100000")
    assert (capacity.cores(system), capacity.slots(system)) == (0.5, 1)


def test_places_follow_the_older_kind_of_cgroups_too(system: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(capacity.os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(capacity.os, "sysconf", {"SC_PHYS_PAGES": 2**26, "SC_PAGE_SIZE": 4096}.__getitem__)
    put(system, proc__self__cgroup="4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n")
    put(system, sys__fs__cgroup__cpu__cpu_DOT_cfs_quota_us="-1", sys__fs__cgroup__cpu__cpu_DOT_cfs_period_us="100000")
    put(system, sys__fs__cgroup__memory__memory_DOT_limit_in_bytes=str(13 * 2**30))  # the host's path is not seen here
    assert capacity.slots(system) == 3
    put(system, sys__fs__cgroup__cpu__cpu_DOT_cfs_quota_us="400000")
    assert capacity.slots(system) == 2


def test_what_this_machine_carries_is_at_least_one_run():
    assert capacity.slots() >= 1
