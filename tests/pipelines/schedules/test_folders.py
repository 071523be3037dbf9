"""The folder of a schedule goes along with the project that holds the workspace, and stays where it is elsewhere."""

import json
import os
import shutil
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.schedules import schema
from pipelines.schedules.database import FILE, Database
from pipelines.schedules.states import kept, located
from pipelines.schedules.store import Store
from pipelines.timing import Timing
from tests.pipelines.schedules.world import add

DATA = {"kind": "npz", "path": "images.npz"}
EXPERIMENT = (
    f"name: mine\ndata: {{source: {json.dumps(DATA)}, features: "
    "{image: {kind: image, shape: [8, 8, 1], range: [0, 16]}, label: category}}\n"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with its data, and with a workspace in it that holds the schedule mine-1."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "mine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    (folder / "images.npz").touch()
    monkeypatch.chdir(folder)
    assert does(folder, "create", "mine.yaml", "--cron", "0 2 * * *").exit_code == 0
    monkeypatch.chdir(tmp_path)
    return folder


def does(project: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["schedule", *words, "--workspace", str(project / "workspace")])


def folder_of(project: Path) -> str:
    with Store(project / "workspace") as store:
        return store.schedules()[0].folder


def outcome(project: Path) -> Any:
    """What became of a run by hand."""
    started = does(project, "run", "mine-1")
    assert started.exit_code == 0, started.stderr
    deadline = time.monotonic() + 60
    while True:
        (run,) = json.loads(does(project, "history", "mine-1", "--json").stdout)["history"]
        if run["status"] not in ("pending", "running"):
            return run
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_runs_of_a_copied_project_work_in_the_copy(project: Path):
    copy = project.with_name("copy")
    shutil.copytree(project, copy)
    assert (folder_of(project), folder_of(copy)) == (str(project), str(copy))
    (copy / "images.npz").unlink()  # those of the project are still there
    assert outcome(copy)["reason"] == "data.source: there is no file images.npz"


def test_a_project_that_was_moved_goes_on(project: Path):
    moved = project.with_name("elsewhere") / "deeper" / "project"
    moved.parent.mkdir(parents=True)
    shutil.move(project, moved)
    assert folder_of(moved) == str(moved)
    (moved / "images.npz").unlink()  # so that the run ends as soon as it has looked for its data
    assert outcome(moved)["reason"] == "data.source: there is no file images.npz"


def test_a_workspace_that_is_reached_by_a_link_has_the_folder_itself(project: Path):
    link = project.with_name("link")
    link.symlink_to(project)
    assert folder_of(link) == str(project)


def test_the_same_schedule_in_a_copy_is_noticed(project: Path, monkeypatch: pytest.MonkeyPatch):
    copy = project.with_name("copy")
    shutil.copytree(project, copy)
    monkeypatch.chdir(copy)
    assert "mine-1 does the same" in does(copy, "create", "mine.yaml", "--cron", "0 2 * * *").stderr


def test_a_run_by_hand_in_a_folder_that_is_gone_is_refused_before_it_has_a_name(project: Path):
    gone = project.with_name("gone")
    add(project / "workspace", Timing("0 2 * * *"), datetime.now(UTC), "other-1", folder=str(gone))
    done = does(project, "run", "other-1")
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"the folder {gone}, in which the schedule was made, is no longer there; put it back, or" in done.stderr
    assert json.loads(does(project, "history", "other-1", "--json").stdout) == {"history": []}


@pytest.mark.parametrize(
    ("folder", "is_kept"),
    [("/p/q/w", "."), ("/p/q", ".."), ("/p", "../.."), ("/", "/"), ("/p/q/w/in", "/p/q/w/in"), ("/p/qq", "/p/qq")],
)
def test_a_folder_is_kept_relative_where_the_workspace_is_in_it_but_for_the_root(folder: str, is_kept: str):
    assert kept(folder, Path("/p/q/w")) == is_kept
    assert located(is_kept, Path("/p/q/w")) == folder


FOLDERS = ("", "/workspace", "-of-another")
"""After the project's path."""


@pytest.fixture
def second(project: Path) -> Path:
    """The project with a database as version 2 of its format was written: all folders are absolute."""
    for number, after in enumerate(FOLDERS):
        folder = f"{project}{after}"
        add(project / "workspace", Timing("0 2 * * *"), datetime.now(UTC), f"old-{number}", folder=folder)
    with Database(project / "workspace") as database:
        for number, after in enumerate(FOLDERS):
            database.write("UPDATE schedules SET folder = ? WHERE id = ?", f"{project}{after}", f"old-{number}")
        database.write("UPDATE schedules SET folder = CAST(x'2fff' AS TEXT) WHERE id = 'mine-1'")
        for table in ("files", "names", "dates", "alerts", "polls"):
            database.write(f"DROP TABLE {table}")
        database.write("PRAGMA user_version = 2")
        database.write("PRAGMA wal_checkpoint(TRUNCATE)")
    return project


def rows(workspace: Path) -> dict[str, Any]:
    database = sqlite3.connect(workspace / FILE)
    database.text_factory = bytes
    found = {id.decode(): folder for id, folder in database.execute("SELECT id, folder FROM schedules")}
    database.close()
    return found


def test_a_database_of_an_older_version_has_its_folders_made_relative_and_a_damaged_row_stays(second: Path):
    with Store(second / "workspace") as store:
        assert store.read("PRAGMA user_version")[0][0] == schema.VERSION
        assert [schedule.folder for schedule in store.schedules()] == [f"{second}{after}" for after in FOLDERS]
        assert list(store.unreadable()) == ["mine-1"]
    assert rows(second / "workspace") == {
        "old-0": b"..", "old-1": b".", "old-2": f"{second}-of-another".encode(), "mine-1": b"/\xff",
    }  # fmt: skip


def test_an_older_database_that_cannot_be_written_to_is_read_with_the_folders_of_this_version(
    second: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write everywhere
    before = rows(second / "workspace")
    with Store(second / "workspace") as store:
        assert store.is_read_only
        assert [schedule.folder for schedule in store.schedules()] == [f"{second}{after}" for after in FOLDERS]
    assert rows(second / "workspace") == before
