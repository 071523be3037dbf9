"""Everything killed at once, as by a loss of power: the next command says how runs ended, and leaves those at work."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.tracking import liveness, store, tags
from elboflow.artifacts import lock
from elboflow.testing.platforms.wire import wait_for
from pipelines.cli import app
from pipelines.targets.local import dead
from pipelines.targets.local.process import ProcessIdentity
from pipelines.targets.local.record import EXPERIMENT, GONE, LOCK, Record, read
from pipelines.workspace import Workspace

pytestmark = pytest.mark.xdist_group("mlflow")

STANDS_STILL = """
import os, sys, time
from pathlib import Path
from pipelines.experiment import load
from pipelines.graphs.training import Training
from pipelines.targets.local.execution import execute
from pipelines.workspace import open_to_write

def stand_still(self, take, values):
    os.write(1, f"{values.run}\\n".encode())
    time.sleep(600)

Training.build = stand_still
execute(load("digits"), open_to_write(Path(sys.argv[1])))
"""


class Still:
    """A run that stands still; it leads a new session, which holds all its processes."""

    def __init__(self, workspace: Path) -> None:
        command = [sys.executable, "-c", STANDS_STILL, str(workspace)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", start_new_session=True)
        assert self.process.stdout is not None
        self.name = self.process.stdout.readline().strip()

    def kill(self) -> None:
        """Ends it as a loss of power would, by SIGKILL to its group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class AtWork:
    """A pipeline run that is at work as long as this process holds its lock."""

    def __init__(self, workspace: Workspace, run: str) -> None:
        self.run, self.folder = run, workspace.runs / run
        nowhere = ProcessIdentity(2**22 + 1, "1")  # as in another container: of such an id there is none here
        Record(run, "digits", nowhere, "running", datetime.now(UTC)).write(workspace.runs)
        (self.folder / EXPERIMENT).write_text('{"name": "digits", "seed": 0}', encoding="utf-8")
        self.lock = lock.hold(self.folder / LOCK)
        client = store.connect(workspace.tracking_uri)
        given = {tags.RUN: run, **liveness.tag(workspace.tracking_uri, self.folder / LOCK)}
        client.create_run("0", run_name=run, tags=given)

    def kill(self) -> None:
        """Releases its lock, as its death would."""
        assert self.lock is not None
        os.close(self.lock)


@pytest.fixture
def at_work(workspace: Workspace) -> AtWork:
    return AtWork(workspace, "digits-1")


def statuses(workspace: Workspace) -> dict[str, str]:
    """The status of each run in MLflow, by its name."""
    with closing(sqlite3.connect(workspace.database, timeout=20)) as database:
        return dict(database.execute("SELECT name, status FROM runs"))


def execute(workspace: Workspace, *commands: str) -> None:
    with closing(sqlite3.connect(workspace.database)) as database, database:
        for command in commands:
            database.execute(command)


def runs(workspace: Workspace) -> dict[str, tuple[str, str]]:
    """What `elboflow runs` says of each run: its status, and why."""
    done = CliRunner().invoke(app, ["runs", "--workspace", str(workspace.folder), "--json"])
    assert done.exit_code == 0, done.output
    return {run["run"]: (run["status"], run["reason"]) for run in json.loads(done.stdout)["runs"]}


@pytest.mark.slow
def test_a_run_is_in_mlflow_from_its_start_and_the_next_command_after_a_kill_ends_it(workspace: Workspace):
    still = Still(workspace.folder)
    try:
        wait_for(lambda: statuses(workspace) == {still.name: "RUNNING"}, 60)
        begun = read(workspace.runs / still.name)
        assert dead.end(workspace) == ()
    finally:
        still.kill()
    assert runs(workspace) == {still.name: ("failed", GONE)}
    assert statuses(workspace) == {still.name: "KILLED"}
    ended = read(workspace.runs / still.name)
    client = store.connect(workspace.tracking_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert begun is not None
    assert ended is not None
    assert ended.ended is not None
    assert (ended.status, ended.reason) == ("failed", GONE)
    assert run.data.params["training.epochs"] == "50"
    assert run.data.tags[liveness.AT_WORK] == f"runs/{still.name}/{LOCK}"
    assert run.data.tags["elboflow.failure"] == GONE
    assert run.info.start_time / 1000 == pytest.approx(begun.created.timestamp(), abs=0.002)
    assert run.info.end_time / 1000 == pytest.approx(ended.ended.timestamp(), abs=1)


def test_a_run_at_work_is_left_alone_also_where_its_process_is_not_seen(workspace: Workspace, at_work: AtWork):
    assert dead.end(workspace) == ()
    assert runs(workspace) == {"digits-1": ("running", None)}
    assert statuses(workspace) == {"digits-1": "RUNNING"}
    done = CliRunner().invoke(app, ["cancel", "digits-1", "--workspace", str(workspace.folder)])
    assert (done.exit_code, "in another container" in done.stderr) == (1, True)
    at_work.kill()
    assert runs(workspace) == {"digits-1": ("failed", GONE)}
    assert statuses(workspace) == {"digits-1": "KILLED"}


def test_a_run_at_work_is_left_alone_by_a_command_in_another_container(workspace: Workspace, at_work: AtWork):
    elboflow = [sys.executable, "-m", "pipelines", "runs", "--json", "--workspace", str(workspace.folder)]
    as_root = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    container = ["unshare", *as_root, "--pid", "--fork", "--mount-proc", *elboflow]
    shown = json.loads(subprocess.run(container, check=True, capture_output=True, timeout=60).stdout)
    assert [run["status"] for run in shown["runs"]] == ["running"]
    assert statuses(workspace) == {"digits-1": "RUNNING"}


def test_a_run_that_was_killed_before_it_was_in_mlflow_gets_there_as_killed(workspace: Workspace, at_work: AtWork):
    execute(workspace, "DELETE FROM tags", "DELETE FROM runs")
    at_work.kill()
    assert dead.end(workspace) == ("digits-1",)
    wait_for(lambda: statuses(workspace) == {"digits-1": "KILLED"}, 60)


def test_a_run_of_an_older_version_is_ended_when_its_process_is_gone(workspace: Workspace, at_work: AtWork):
    execute(workspace, f"DELETE FROM tags WHERE key = '{liveness.AT_WORK}'")
    for name in (LOCK, EXPERIMENT):
        (at_work.folder / name).unlink()
    record = read(at_work.folder)
    assert record is not None
    replace(record, process=ProcessIdentity.current()).write(workspace.runs)
    assert dead.end(workspace) == ()
    record.write(workspace.runs)
    assert dead.end(workspace) == ("digits-1",)
    assert statuses(workspace) == {"digits-1": "KILLED"}


def test_a_sweep_that_was_killed_is_ended_with_its_trials(workspace: Workspace, at_work: AtWork):
    client = store.connect(workspace.tracking_uri)
    client.create_run("0", run_name="latent=4", tags={tags.RUN: "digits-1/0123456789abcdef"})
    assert dead.end(workspace) == ()
    at_work.kill()
    dead.end(workspace)
    assert statuses(workspace) == {"digits-1": "KILLED", "latent=4": "KILLED"}


def test_runs_of_others_in_the_same_mlflow_are_left_alone(workspace: Workspace):
    client = store.connect(workspace.tracking_uri)
    client.create_run("0", run_name="by hand")
    client.create_run("0", run_name="elsewhere", tags={tags.RUN: "elsewhere"})
    client.create_run("0", run_name="other machine", tags={liveness.AT_WORK: "/not/on/this/machine/at-work.lock"})
    assert dead.end(workspace) == ()
    assert set(statuses(workspace).values()) == {"RUNNING"}


def test_a_copy_of_a_workspace_at_work_ends_the_run_in_the_copy_alone(
    workspace: Workspace, at_work: AtWork, tmp_path: Path
):
    copy = Workspace(tmp_path / "copy")
    shutil.copytree(workspace.folder, copy.folder)
    assert dead.end(copy) == ("digits-1",)
    assert statuses(copy) == {"digits-1": "KILLED"}
    assert statuses(workspace) == {"digits-1": "RUNNING"}


def test_a_registration_by_hand_that_was_killed_is_ended(workspace: Workspace):
    tag = liveness.tag(workspace.tracking_uri, store.registration_lock(workspace.tracking_uri))
    client = store.connect(workspace.tracking_uri)
    client.create_run("0", run_name="digits-by-hand", tags={tags.RUN: "digits-by-hand", **tag})
    with store.exclusive(workspace.tracking_uri):
        assert dead.end(workspace) == ()
    assert dead.end(workspace) == ("digits-by-hand",)


def test_the_end_of_a_run_is_told_only_to_an_mlflow_that_this_machine_or_the_experiment_names(
    workspace: Workspace, at_work: AtWork, monkeypatch: pytest.MonkeyPatch
):
    told: list[str] = []
    monkeypatch.setattr(dead.in_mlflow, "end", lambda record, experiment, place, uri: told.append(uri))
    record = read(at_work.folder)
    assert record is not None
    replace(record, tracking_uri="https://mlflow.example").write(workspace.runs)
    at_work.kill()
    assert dead.end(workspace) == ("digits-1",)
    assert told == []
    dead.end(workspace, "https://other.example")
    assert told == []
    monkeypatch.setenv("ELBOFLOW_TRACKING_URI", "https://me:secret@mlflow.example")
    dead.end(workspace)
    dead.end(workspace)
    assert told == ["https://me:secret@mlflow.example"]


def test_a_record_that_names_another_folder_leaves_that_folder_alone(workspace: Workspace, at_work: AtWork):
    at_work.kill()
    record = read(at_work.folder)
    assert record is not None
    values = json.loads((at_work.folder / "run.json").read_text(encoding="utf-8"))
    (at_work.folder / "run.json").write_text(json.dumps({**values, "run": "../../elsewhere"}), encoding="utf-8")
    dead.end(workspace)
    assert not (workspace.folder.parent / "elsewhere").exists()
