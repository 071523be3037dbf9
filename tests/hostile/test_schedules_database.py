"""A damaged `schedules.db`: it is named with the way out, never overwritten, and what can be read of it goes on."""

import json
import os
import random
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from elboflow.settings import RequestError, WorkError
from pipelines.cli import app
from pipelines.schedules.daemon import Daemon
from pipelines.schedules.launch import LOG, RESULT, tick_folder
from pipelines.schedules.states import Key, Tick
from pipelines.schedules.store import Store
from pipelines.timing import Timing
from tests.pipelines.schedules.world import World, add, records, utc

NOW = utc(2026, 11, 28, 20)
MINUTE = timedelta(minutes=1)
FILE = "schedules.db"


def does(workspace: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--workspace", str(workspace)])


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Three schedules with some history, in one file."""
    for name in ("a", "b", "c"):
        add(tmp_path, Timing("*/30 * * * *"), NOW - timedelta(days=30), f"{name}-1", name=name)
    world = World(tmp_path, 0, NOW, runs_for=MINUTE)
    for _ in range(6):
        world.look()
        world.until(world.now + timedelta(minutes=31))
    world.power_fails()
    with Store(tmp_path) as store:
        store.write("PRAGMA wal_checkpoint(TRUNCATE)")
    return tmp_path


def files(workspace: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in workspace.glob(f"{FILE}*") if path.stat().st_size}


GARBAGE = {
    "text": b"precious, but no database" * 200,
    "zeros": b"\0" * 9000,
    "header": b"SQLite format 3\0" + b"\xff" * 9000,
}


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("words", ["schedule list", "schedule history a-1", "scheduler"])
def test_a_file_that_is_no_database_is_named_with_the_way_out_and_left_as_it_is(kind: str, words: str, tmp_path: Path):
    (tmp_path / FILE).write_bytes(GARBAGE[kind])
    done = does(tmp_path, *words.split())
    assert done.exit_code == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert f"{tmp_path / FILE} is damaged (" in done.stderr
    assert f"mv {tmp_path / FILE} {tmp_path / FILE}.damaged" in done.stderr
    assert (tmp_path / FILE).read_bytes() == GARBAGE[kind]


def test_an_empty_file_where_there_were_schedules_is_not_taken_for_a_new_database(workspace: Path):
    (workspace / "schedules" / "a-1" / "2026-11-28T20-00Z").mkdir(parents=True)
    (workspace / FILE).write_bytes(b"")
    done = does(workspace, "schedule", "list")
    assert done.exit_code == 1
    assert "schedules.db is damaged (it is empty, and " in done.stderr
    assert (workspace / FILE).read_bytes() == b""


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.99])
def test_a_truncated_database_is_named_and_not_made_worse(kept: float, workspace: Path):
    whole = (workspace / FILE).read_bytes()
    (workspace / FILE).write_bytes(whole[: int(len(whole) * kept)])
    for words in (
        ("schedule", "list"),
        ("schedule", "history", "a-1"),
        ("schedule", "create", "digits", "--cron", "0 2 * * *"),
    ):
        done = does(workspace, *words)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code in (0, 1)
        if done.exit_code == 1:
            assert "schedules.db is damaged (" in done.stderr
    assert not [path for path in workspace.iterdir() if path.name == f"{FILE}.damaged"]


def test_a_database_of_another_program_is_refused(tmp_path: Path):
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("CREATE TABLE notes (text TEXT)")
    other.close()
    before = files(tmp_path)
    done = does(tmp_path, "schedule", "list")
    assert done.exit_code == 2
    assert "schedules.db is a database of another program; choose another --workspace" in done.stderr
    assert files(tmp_path) == before


def test_a_database_without_a_column_is_named(workspace: Path):
    with Store(workspace) as store:
        store.write("ALTER TABLE ticks DROP COLUMN reason")
    done = does(workspace, "schedule", "list")
    assert done.exit_code == 1
    assert "is damaged (it lacks ticks.reason)" in done.stderr


DAMAGES = {
    "deep": ("experiment", "[" * 100_000, "experiment is '[[["),
    "year": ("settled", "0001-01-01T00:00:00+00:00", "settled is '0001"),
    "none": ("max_active", 0, "max_active is 0"),
    "experiment": ("experiment", "{'name'", "experiment is \"{'name'\""),
    "list": ("experiment", "[1, 2]", "experiment is '[1, 2]'"),
    "moment": ("settled", "yesterday", "settled is 'yesterday'"),
    "no zone": ("created", "2026-01-01T00:00:00", "created is '2026-01-01T00:00:00'"),
    "number": ("max_active", "many", "max_active is 'many'"),
    "choice": ("catch_up", "some", "catch_up is 'some'"),
    "bytes": ("folder", b"\x1b[2J\xff", "folder is b'\\x1b[2J\\xff'"),
    "escape": ("cron", b"\xff\xfe", "cron is b'\\xff\\xfe'"),
    "pause": ("paused", 7, "paused is '7'"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_schedule_is_named_in_the_list_can_be_deleted_and_keeps_no_other_from_ticking(
    damage: str, workspace: Path
):
    column, value, told = DAMAGES[damage]
    with Store(workspace) as store:
        store.write(f"UPDATE schedules SET {column} = ? WHERE id = 'b-1'", value)
    listed = does(workspace, "schedule", "list")
    assert listed.exit_code == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == ["a-1", "c-1", "b-1"]
    assert f"cannot be read: its row in {workspace / FILE} is damaged, {told}" in listed.stdout
    (broken,) = [
        row
        for row in json.loads(does(workspace, "schedule", "list", "--json").stdout)["schedules"]
        if row["status"] == "broken"
    ]
    assert broken["schedule"] == "b-1"
    shown = does(workspace, "schedule", "show", "b-1")
    assert shown.exit_code == 1
    assert f"the schedule b-1 cannot be read: its row in {workspace / FILE} is damaged" in shown.stderr

    world = World(workspace, 0, NOW + timedelta(hours=4))
    world.look()
    with Store(workspace) as store:
        assert sorted({tick.key.schedule for tick in store.open_ticks()}) == ["a-1", "c-1"]
    made = does(workspace, "schedule", "create", "digits", "--cron", "0 2 * * *")
    assert made.exit_code == 0, made.stderr
    assert does(workspace, "schedule", "delete", "b-1").exit_code == 0
    assert "b-1" not in does(workspace, "schedule", "list").stdout


def test_a_schedule_whose_name_is_damaged_lends_its_id_to_no_other(workspace: Path):
    assert does(workspace, "schedule", "create", "digits", "--cron", "0 2 * * *").stdout == "digits-1\n"
    with Store(workspace) as store:
        store.write("UPDATE schedules SET name = ? WHERE id = 'digits-1'", b"\xff")
    assert does(workspace, "schedule", "create", "digits", "--cron", "0 2 * * *").stdout == "digits-2\n"


DAMAGED_TICKS = [("state", "running "), ("started", "x"), ("attempts", "x"), ("origin", 3), ("run", b"\xff")]


@pytest.mark.parametrize(("column", "value"), DAMAGED_TICKS)
def test_a_damaged_tick_is_named_in_the_history_and_the_others_are_shown(column: str, value: object, workspace: Path):
    whole = records(workspace, "a-1")
    with Store(workspace) as store:
        (tick, *_) = [tick for tick in whole if tick.state == "succeeded"]
        time = tick.key.time.isoformat(timespec="microseconds")
        store.write(f"UPDATE ticks SET {column} = ? WHERE schedule = 'a-1' AND tick = ?", value, time)
    shown = does(workspace, "schedule", "history", "a-1")
    assert shown.exit_code == 0
    assert f"of a-1 cannot be read: its row in {workspace / FILE} is damaged, {column} is" in shown.stderr
    world = World(workspace, 0, NOW + timedelta(days=1))
    for _ in range(3):
        world.look()
        world.until(world.now + 41 * MINUTE)
    assert world.ran


@pytest.fixture
def daemon(workspace: Path, caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    """A scheduler that is at work, in a workspace that a test damages while it runs."""
    caplog.set_level("INFO", logger="elboflow.schedules")
    world = World(workspace, 0, datetime.now(UTC))
    with Daemon(workspace, world, slots=9) as running:
        thread = threading.Thread(target=running.run)
        thread.start()
        yield world
        running.stop()
        thread.join(30)
    assert not thread.is_alive()


@pytest.mark.slow
def test_a_scheduler_names_a_damaged_schedule_once_and_goes_on(
    daemon: World, workspace: Path, caplog: pytest.LogCaptureFixture
):
    with Store(workspace) as store:
        store.write("UPDATE schedules SET experiment = 'x', cron = '* * * * *' WHERE id = 'b-1'")
        store.record([Tick(Key("b-1", NOW - timedelta(days=60)), "tick", "running", process=1)])
        store.write("UPDATE ticks SET attempts = 'x' WHERE schedule = 'b-1' AND state = 'running'")
        store.write("UPDATE schedules SET cron = '* * * * *' WHERE id = 'a-1'")
        store.change("a-1", settled=datetime.now(UTC) - 2 * MINUTE)
    deadline = time.monotonic() + 20
    while not daemon.children:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(6)  # a pass or two more
    assert {child.key.schedule for child in daemon.children} >= {"a-1"}
    # A row that is damaged in the middle of a pass is told by what looks the schedule up, too, in words of its own.
    told = [record.getMessage() for record in caplog.records if record.getMessage().endswith("; the others go on")]
    assert len([line for line in told if line.startswith("the schedule b-1 cannot be read")]) == 1
    assert len([line for line in told if line.startswith("the tick 2026-09-29")]) == 1


@pytest.mark.slow
def test_a_scheduler_outlives_a_database_that_is_replaced_by_garbage_and_goes_on_with_its_backup(
    daemon: World, workspace: Path, caplog: pytest.LogCaptureFixture
):
    time.sleep(1.5)
    with Store(workspace) as store:
        store.write("VACUUM INTO ?", str(workspace / "backup.db"))
    for name in (f"{FILE}-wal", f"{FILE}-shm"):
        (workspace / name).unlink(missing_ok=True)
    (workspace / "garbage").write_bytes(random.Random(0).randbytes(20_000))
    (workspace / "garbage").rename(workspace / FILE)
    time.sleep(3)
    said = [
        record.getMessage() for record in caplog.records if "is damaged (file is not a database)" in record.getMessage()
    ]
    assert len(said) == 1
    (workspace / "backup.db").rename(workspace / FILE)
    with Store(workspace) as store:
        store.write("UPDATE schedules SET cron = '* * * * *' WHERE id = 'a-1'")
        store.change("a-1", settled=datetime.now(UTC) - 2 * MINUTE)
    deadline = time.monotonic() + 20
    while "a-1" not in {child.key.schedule for child in daemon.children}:
        assert time.monotonic() < deadline
        time.sleep(0.1)


RESULTS = {
    "deep": b"[" * 100_000,
    "types": b'{"status": 7, "reason": ["x"], "step": {}}',
    "binary": b"\xff\xfe\0" * 50,
    "long": b"x" * 3_000_000 + b"\n" + json.dumps({"status": "failed", "reason": "y" * 100_000}).encode(),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_a_run_that_leaves_a_damaged_result_or_a_huge_log_has_its_end_recorded(kind: str, workspace: Path):
    key = Key("a-1", NOW + timedelta(days=1))
    folder = tick_folder(workspace, key)
    folder.mkdir(parents=True)
    (folder / RESULT).write_bytes(RESULTS[kind])
    (folder / LOG).write_bytes(b"\x1b[2J\xff" * 1_000_000 + b"\nerror: disk full\n")
    with Store(workspace) as store:
        store.record([Tick(key, "tick", "running", process=1)])
    World(workspace, 0, NOW + timedelta(days=1, hours=1)).look()
    with Store(workspace) as store:
        tick = store.tick(key)
    assert tick is not None
    assert tick.state == "failed"
    assert tick.reason is not None
    assert len(tick.reason) <= 4000


@pytest.mark.slow
def test_flipped_bytes_end_in_a_sentence_or_in_what_can_be_read(workspace: Path):
    whole, numbers = (workspace / FILE).read_bytes(), random.Random(0)
    sentences = list[str]()
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(numbers.choice((1, 1, 8))):
            damaged[numbers.randrange(len(damaged))] ^= 1 << numbers.randrange(8)
        for path in workspace.glob(f"{FILE}*"):
            path.unlink()
        (workspace / FILE).write_bytes(damaged)
        try:
            with Store(workspace) as store:
                store.schedules()
                store.open_ticks()
                store.history("a-1", 50, NOW)
                world = World(workspace, 0, NOW + timedelta(hours=5))
                world.look()
                world.power_fails()
        except (WorkError, RequestError) as error:
            sentences.append(str(error))
    assert all(FILE in sentence for sentence in sentences)
    assert len(sentences) < 300


def test_schedules_that_cannot_be_written_to_can_be_listed():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        add(folder, Timing("0 2 * * *"), NOW, "a-1")
        (folder / FILE).chmod(0o444)
        folder.chmod(0o555)
        if (child := os.fork()) == 0:
            with suppress(PermissionError):
                os.setuid(65534)  # whom permissions stop, unlike root
            os._exit(_reads_and_does_not_write(folder))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        folder.chmod(0o755)


def _reads_and_does_not_write(folder: Path) -> int:
    with Store(folder) as store:
        if [schedule.id for schedule in store.schedules()] != ["a-1"] or not store.is_read_only:
            return 1
        try:
            store.change("a-1", paused=NOW)
        except WorkError as error:
            return 0 if "schedules.db cannot be used: attempt to write a readonly database" in str(error) else 2
    return 3


def test_escape_sequences_in_its_rows_are_shown_escaped(workspace: Path):
    with Store(workspace) as store:
        for column in ("name", "cron", "timezone"):
            store.write(f"UPDATE schedules SET {column} = ? WHERE id = 'b-1'", "\x1b[2J\u202e[bold]x")
        store.write("UPDATE ticks SET run = ?, reason = ? WHERE schedule = 'b-1'", "\x1b[2J\r", "\x1b]0;title\x07")
        store.write("UPDATE ranges SET reason = ? WHERE schedule = 'b-1'", "\x1b[2J\u202e")
    for words in (["list"], ["show", "b-1"], ["history", "b-1"], ["delete", "b-1"]):
        done = does(workspace, "schedule", *words)
        assert done.exit_code == 0, done.stderr
        shown = done.stdout + done.stderr
        assert not {"\x1b", "\u202e", "\x07", "\r"} & set(shown)
    assert "\\x1b[2J\\u202e[bold]x" in does(workspace, "schedule", "show", "b-1").stdout
