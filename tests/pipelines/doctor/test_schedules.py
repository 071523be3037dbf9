"""What a doctor finds of a scheduler and of its schedules."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from elboflow.artifacts.lock import hold
from pipelines.cli import app
from pipelines.doctor.schedules import schedules
from pipelines.experiment import load
from pipelines.schedules.heartbeat import LOCK, announce, beat, sign
from pipelines.schedules.states import Key, Tick
from pipelines.schedules.store import Store
from pipelines.timing import Timing
from tests.pipelines.schedules.world import add

HOUR = timedelta(hours=1)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Two schedules, whose data are a file of the folder that they were made in."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "images.npz").touch()
    source = "{kind: npz, path: images.npz}"
    values = load("digits", [f"data.source={source}", "name=nightly"]).model_dump(mode="json")
    for number in (1, 2):
        folder = str(tmp_path / "here")
        add(tmp_path, Timing("0 2 1 1 *"), datetime.now(UTC), f"nightly-{number}", experiment=values, folder=folder)
    return tmp_path


@pytest.fixture
def scheduler(workspace: Path) -> Iterator[int]:
    """A scheduler that is at work on them: it holds the lock, and its heart beats."""
    lock = hold(workspace / LOCK)
    assert lock is not None
    sign(lock)
    with Store(workspace) as store:
        announce(store, 2)
        beat(store, datetime.now(UTC))
    yield lock
    os.close(lock)


def found(workspace: Path) -> list[tuple[str, str, str]]:
    return [(finding.what, finding.state, finding.found) for finding in schedules(workspace)]


def test_where_there_are_no_schedules_there_is_nothing_to_say(tmp_path: Path):
    assert found(tmp_path) == []
    Store(tmp_path).close()
    assert found(tmp_path) == []


def test_a_scheduler_that_is_at_work_is_well(workspace: Path, scheduler: int):
    ((what, state, text),) = found(workspace)
    assert (what, state) == ("scheduler", "ok")
    assert text.startswith(f"at work for 2 schedules: process {os.getpid()} on ")


def test_a_scheduler_that_is_dead_is_ill(workspace: Path):
    (finding,) = schedules(workspace)
    assert (finding.what, finding.state) == ("scheduler", "problem")
    assert finding.found == f"no scheduler is at work on {workspace}; its 2 schedules will not run"
    assert finding.remedy == f"start one: elboflow scheduler --workspace {workspace}"


def test_a_scheduler_that_is_stuck_is_ill(workspace: Path, scheduler: int):
    with Store(workspace) as store:
        beat(store, datetime.now(UTC) - HOUR)
    (finding,) = schedules(workspace)
    assert finding.state == "problem"
    assert "has not said since" in finding.found
    assert finding.remedy.startswith("end that process, and start another")


def test_a_scheduler_whose_passes_fail_is_ill(workspace: Path, scheduler: int):
    with Store(workspace) as store:
        store.write("UPDATE schedules SET cron = '* * * * *' WHERE id = 'nightly-2'")
        store.change("nightly-2", settled=datetime.now(UTC) - HOUR)
    assert found(workspace) == [("scheduler", "problem", "does not look at what is due of nightly-2")]


@pytest.mark.parametrize(("waited", "state"), [(HOUR, "ok"), (30 * HOUR, "problem")])
def test_ticks_in_line_are_told_and_ill_once_they_have_waited_for_half_a_day(
    waited: timedelta, state: str, workspace: Path, scheduler: int
):
    since = datetime.now(UTC) - waited
    with Store(workspace) as store:
        store.record([Tick(Key("nightly-1", since), "tick", "waiting")])
    ((_, is_state, text),) = found(workspace)
    assert is_state == state
    assert text.endswith(f"1 tick in line for 2 places, since {since:%Y-%m-%d %H:%M} UTC")


def test_schedules_of_a_folder_that_was_moved_are_ill(workspace: Path, scheduler: int):
    shutil.move(workspace / "here", workspace / "there")
    assert found(workspace)[1:] == [
        (
            f"schedule nightly-{number}",
            "problem",
            f"the folder {workspace / 'here'}, in which it was made, is no longer there: was it moved?",
        )
        for number in (1, 2)
    ]


def test_data_that_are_gone_are_ill(workspace: Path, scheduler: int):
    (workspace / "here" / "images.npz").unlink()
    assert found(workspace)[1] == (
        "schedule nightly-1",
        "problem",
        f"its data are not there: {workspace / 'here' / 'images.npz'}",
    )


def test_an_experiment_that_this_version_does_not_accept_and_a_timezone_that_is_gone_are_ill(
    workspace: Path, scheduler: int
):
    with Store(workspace) as store:
        store.write('UPDATE schedules SET experiment = \'{"name": "nightly", "later": 1}\' WHERE id = \'nightly-1\'')
        store.write("UPDATE schedules SET timezone = 'Europe/Gone' WHERE id = 'nightly-2'")
    first, second = found(workspace)[1:]
    assert first[2].startswith("this version does not accept its experiment: ")
    assert "timezone 'Europe/Gone'" in second[2]


def test_an_empty_file_is_ill_also_after_its_schedules_were_listed(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipelines.schedules.database._MADE", 0.1)
    for path in workspace.glob("schedules.db*"):
        path.unlink()
    (workspace / "schedules.db").touch()
    for words in (["list"], ["show", "nightly-1"]):
        done = CliRunner().invoke(app, ["schedule", *words, "--workspace", str(workspace)])
        assert f"{workspace / 'schedules.db'} has no schedules: it is empty: a command was killed" in done.stderr
        assert done.stderr.count("it is empty") == 1
    (finding,) = schedules(workspace)
    assert finding.state == "problem"
    assert finding.found.startswith("it is empty: ")
    assert finding.remedy.endswith(f"remove it, and make the schedules anew: rm {workspace / 'schedules.db'}")
    made = CliRunner().invoke(
        app, ["schedule", "create", "digits", "--cron", "0 2 * * *", "--workspace", str(workspace)]
    )
    assert (made.exit_code, made.stdout) == (0, "digits-1\n")
    assert made.stderr.count("has no schedules: it is empty") == 1
    assert "problem" not in {finding.state for finding in schedules(workspace) if finding.what != "scheduler"}


def test_a_damaged_database_or_row_is_ill_with_its_way_out(workspace: Path, scheduler: int):
    with Store(workspace) as store:
        store.write("UPDATE schedules SET cron = x'ff' WHERE id = 'nightly-1'")
    assert "is damaged, cron is b'\\xff'" in found(workspace)[1][2]
    for path in workspace.glob("schedules.db*"):
        path.unlink()
    (workspace / "schedules.db").write_bytes(b"garbage " * 2000)
    (finding,) = schedules(workspace)
    assert (finding.state, finding.remedy.startswith("put a backup in its place, or move it away")) == ("problem", True)
