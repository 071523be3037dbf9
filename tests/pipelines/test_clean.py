"""`elboflow clean`: a workspace keeps what its settings say and what is needed, whatever happens meanwhile."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from components.registry.cards import CHAMPION
from components.registry.champion import PROMOTED, found_elsewhere, record_seen
from components.registry.decisions.history import open_history
from components.tracking import store, tags
from elboflow.artifacts import lock
from elboflow.settings import RequestError, WorkError
from elboflow.testing.platforms.wire import wait_for
from pipelines import retention
from pipelines.cli import app
from pipelines.experiment import load
from pipelines.retention import clean
from pipelines.retention.folders import A_DAY, size
from pipelines.schedules.daemon import Daemon
from pipelines.schedules.launch import LOG, tick_folder
from pipelines.schedules.states import Key, Schedule, Tick
from pipelines.schedules.store import Store
from pipelines.targets.local import artifacts, recording
from pipelines.targets.local.artifacts import Artifact
from pipelines.targets.local.process import ProcessIdentity
from pipelines.targets.local.record import LOCK, Record
from pipelines.timing import Timing
from pipelines.workspace import SETTINGS, Keep, Workspace, open_to_write

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.xdist_group("mlflow")

FIRST = datetime(2026, 1, 1, 2, tzinfo=UTC)
KEEP = Keep(runs=3, datasets="referenced")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_to_write(tmp_path / "workspace")


def night(
    workspace: Workspace,
    number: int,
    dataset: str | None = None,
    experiment: str = "digits",
    of: str | None = None,
    **changes: Any,
) -> Path:
    """Writes what a run of some night has left: its record, its artifacts, its dataset."""
    name, digest = f"{experiment}-{number:03}", dataset or f"data-{number:03}"
    began = FIRST + timedelta(days=number)
    record = Record(name, experiment, ProcessIdentity.current(), "succeeded", began, began + timedelta(hours=1))
    replace(record, **changes).write(workspace.runs)
    folder = workspace.runs / name
    made = workspace.datasets / digest
    made.mkdir(parents=True, exist_ok=True)
    (made / "dataset.json").write_text("{}", encoding="utf-8")
    (made / "train-00000-of-00001.tfrecord").write_bytes(b"x" * 100)
    artifacts.keep(folder / "preprocess", {"dataset": Artifact("dataset", "system.Dataset", str(made))})
    model = workspace.runs / (of or name) / "train/model"
    model.mkdir(parents=True, exist_ok=True)
    (model / "weights").write_bytes(b"w" * 1000)
    artifacts.keep(folder / "train", {"model": Artifact("model", "system.Model", str(model))})
    return folder


def runs(workspace: Workspace) -> list[str]:
    return sorted(folder.name for folder in workspace.runs.iterdir() if (folder / "run.json").is_file())


def datasets(workspace: Workspace) -> list[str]:
    return sorted(folder.name for folder in workspace.datasets.iterdir())


def kinds(cleaned: retention.Cleaned) -> list[tuple[str, str]]:
    return sorted((item.kind, item.path.name) for item in cleaned.items)


def test_the_newest_runs_of_each_experiment_and_their_datasets_are_kept(workspace: Workspace):
    for number in range(5):
        night(workspace, number)
    night(workspace, 0, experiment="faces", dataset="faces-data")
    done = clean(workspace, KEEP)
    assert runs(workspace) == ["digits-002", "digits-003", "digits-004", "faces-000"]
    assert datasets(workspace) == ["data-002", "data-003", "data-004", "faces-data"]
    taken = ["data-000", "data-001", "digits-000", "digits-001"]
    assert [name for _, name in kinds(done)] == taken
    assert done.bytes > 2 * 1100
    assert not (workspace.folder / ".trash").exists()
    assert clean(workspace, KEEP).items == ()


def test_a_dry_run_says_the_same_and_removes_nothing(workspace: Workspace):
    for number in range(5):
        night(workspace, number)
    before = sorted(workspace.folder.rglob("*"))
    said = clean(workspace, KEEP, dry_run=True)
    assert [
        path for path in workspace.folder.rglob("*") if path not in before and not path.name.endswith(".lock")
    ] == []
    assert clean(workspace, KEEP).items == said.items


def test_without_settings_nothing_but_leftovers_is_taken(workspace: Workspace):
    for number in range(5):
        night(workspace, number)
    assert clean(workspace, Keep()).items == ()
    assert len(runs(workspace)) == len(datasets(workspace)) == 5


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    store.connect(f"sqlite:///{database}")
    return database


Registered = Callable[..., None]


@pytest.fixture
def registered(workspace: Workspace, empty_database: Path) -> Registered:
    """Registers a version of a run."""
    shutil.copy(empty_database, workspace.database)
    client = store.connect(workspace.tracking_uri)
    experiment = client.create_experiment("digits", workspace.model_files.as_uri())
    client.create_registered_model("digits-vae")

    def register(run: str, dataset: str, promoted: bool = False, alias: str | None = None) -> None:
        given = {tags.RUN: run, tags.DATASET: dataset}
        of_run = client.create_run(experiment, tags=given).info.run_id
        version = client.create_model_version(
            "digits-vae", "somewhere", of_run, tags={PROMOTED: "true" if promoted else "false"}
        )
        if alias:
            client.set_registered_model_alias("digits-vae", alias, version.version)

    return register


def test_what_a_version_with_an_alias_or_a_former_champion_needs_is_kept_and_mlflow_s_files_are_left_alone(
    workspace: Workspace, registered: Registered
):
    for number in range(7):
        night(workspace, number)
        registered(f"digits-{number:03}", f"data-{number:03}", number == 1, {0: "staging", 2: "champion"}.get(number))
    workspace.model_files.mkdir()
    (workspace.model_files / ".old.unfinished").touch()
    os.utime(workspace.model_files / ".old.unfinished", (0, 0))
    before = workspace.database.read_bytes()
    clean(workspace, KEEP)
    assert runs(workspace) == [f"digits-{number:03}" for number in (0, 1, 2, 4, 5, 6)]
    assert datasets(workspace) == [f"data-{number:03}" for number in (0, 1, 2, 4, 5, 6)]
    assert (workspace.model_files / ".old.unfinished").exists()
    assert workspace.database.read_bytes() == before


def seen_as_champion(client: "MlflowClient", model: str, version: int) -> None:
    """Moves the alias by hand, as a person does, and lets the model's history see it, as the next registration does."""
    client.set_registered_model_alias(model, CHAMPION, str(version))
    history = open_history(client, str(client.tracking_uri), model)
    seen = found_elsewhere(history, version)
    assert seen is not None
    record_seen(history, seen)


def test_a_version_that_was_the_champion_by_an_alias_moved_by_hand_is_kept(
    workspace: Workspace, registered: Registered
):
    for number in range(6):
        night(workspace, number)
        registered(f"digits-{number:03}", f"data-{number:03}", number == 1)
    client = store.connect(workspace.tracking_uri)
    for number in (1, 3):  # versions count from 1, nights from 0
        seen_as_champion(client, "digits-vae", number)
    client.set_registered_model_alias("digits-vae", CHAMPION, "2")
    clean(workspace, Keep(runs=1, datasets="referenced"))
    assert runs(workspace) == [f"digits-{number:03}" for number in (0, 1, 2, 5)]
    assert datasets(workspace) == [f"data-{number:03}" for number in (0, 1, 2, 5)]


def test_runs_recorded_in_a_server_that_cannot_be_asked_are_kept_and_that_is_said(workspace: Workspace):
    night(workspace, 0, tracking_uri="http://mlflow.example")
    for number in range(1, 5):
        night(workspace, number)
    done = clean(workspace, KEEP)
    assert runs(workspace) == ["digits-000", "digits-002", "digits-003", "digits-004"]
    assert "mlflow.example" in done.kept[0]


@pytest.mark.parametrize("owner", ["this user", "another user"])
def test_an_mlflow_that_only_the_experiment_of_a_run_names_is_asked_unless_another_user_wrote_it(
    workspace: Workspace, registered: Registered, tmp_path: Path, owner: str
):
    registered("digits-000", "data-000", promoted=True)
    elsewhere = f"sqlite:///{workspace.database.rename(tmp_path / 'elsewhere.db')}"
    for number in range(5):
        folder = night(workspace, number, tracking_uri=elsewhere)
        experiment = folder / "experiment.json"
        experiment.write_text(json.dumps({"targets": {"local": {"tracking_uri": elsewhere}}}), encoding="utf-8")
        if owner == "another user":
            if os.getuid() != 0:
                pytest.skip("only root can give files away")
            os.chown(experiment, 12345, -1)
    done = clean(workspace, Keep(runs=1, datasets="referenced"))
    if owner == "this user":
        assert (runs(workspace), done.kept) == (["digits-000", "digits-004"], ())
    else:
        assert len(runs(workspace)) == 5
        assert "elsewhere.db" in done.kept[0]
    assert not workspace.database.exists()


@pytest.mark.slow
def test_a_server_that_this_machine_names_is_asked(
    workspace: Workspace, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    client = store.connect(mlflow_server)
    experiment, name = client.create_experiment(f"clean-{time.time()}"), f"clean-{time.time()}"
    client.create_registered_model(name)
    for number in range(5):
        night(workspace, number, tracking_uri=mlflow_server)
        run = client.create_run(experiment, tags={tags.RUN: f"digits-{number:03}", tags.DATASET: f"data-{number:03}"})
        version = client.create_model_version(
            name, run.info.artifact_uri, run.info.run_id, tags={PROMOTED: "true" if number == 1 else "false"}
        )
    assert version.version == "5"
    for number in (3, 1):
        seen_as_champion(client, name, number)
    seen_as_champion(client, name, 5)
    client.delete_model_version(name, "5")
    client.set_registered_model_alias(name, CHAMPION, "1")
    clean(workspace, Keep(runs=1, datasets="referenced"))
    assert runs(workspace) == ["digits-000", "digits-001", "digits-002", "digits-004"]
    assert datasets(workspace) == ["data-000", "data-001", "data-002", "data-004"]


def test_a_run_at_work_is_kept_and_all_datasets_as_long_as_it_does_not_say_which_it_reads(workspace: Workspace):
    for number in range(5):
        night(workspace, number)
    at_work = night(workspace, -1, status="running", ended=None)
    held = lock.hold(at_work / LOCK)
    assert held is not None
    clean(workspace, KEEP)
    assert "digits--01" in runs(workspace)
    assert datasets(workspace) == ["data--01", "data-002", "data-003", "data-004"]
    (at_work / "preprocess/outputs.json").unlink()
    night(workspace, 9)
    done = clean(workspace, KEEP)
    assert len(datasets(workspace)) == 5
    assert "a run is at work" in done.kept[0]
    os.close(held)


def test_what_a_sweep_or_a_tick_goes_on_with_is_kept(workspace: Workspace):
    for number in range(6):
        night(workspace, number)
    sweep = workspace.folder / "sweeps/digits-1"
    sweep.mkdir(parents=True)
    (sweep / "sweep.json").write_text(json.dumps({"run": "digits-000", "status": "running"}), encoding="utf-8")
    timing = Timing("0 2 * * *")
    with Store(workspace.folder) as schedules:
        schedules.add(Schedule("nightly", "digits", {}, str(workspace.folder), timing, False, FIRST, FIRST))
        schedules.record([Tick(Key("nightly", FIRST), "tick", "running", run="digits-001")])
    clean(workspace, KEEP)
    assert runs(workspace) == [f"digits-{number:03}" for number in (0, 1, 3, 4, 5)]


def test_a_run_that_another_went_on_from_is_kept_with_it_also_after_the_workspace_was_moved(workspace: Workspace):
    night(workspace, 0)
    night(workspace, 1)
    for number in (2, 3):
        night(workspace, number)
    night(workspace, 4, of="digits-000")
    moved = workspace.folder.with_name("moved")
    workspace.folder.rename(moved)
    clean(Workspace(moved), KEEP)
    assert runs(Workspace(moved)) == ["digits-000", "digits-002", "digits-003", "digits-004"]
    assert datasets(Workspace(moved)) == ["data-000", "data-002", "data-003", "data-004"]


def test_a_damaged_record_is_left_alone_and_a_damaged_list_of_artifacts_keeps_all_datasets(workspace: Workspace):
    folders = [night(workspace, number) for number in range(5)]
    (folders[0] / "run.json").write_text("{", encoding="utf-8")
    (folders[4] / "preprocess/outputs.json").write_text("{", encoding="utf-8")
    clean(workspace, KEEP)
    assert folders[0].exists()
    assert not folders[1].exists()
    assert len(datasets(workspace)) == 5


def test_leftovers_of_killed_writes_are_taken_after_a_day_unless_a_process_is_at_them(workspace: Workspace):
    night(workspace, 0)
    data = workspace.datasets / "data-000"
    places = [data / ".attempt-dead", data / ".attempt-alive", data / ".attempt-new", workspace.datasets / "half"]
    for place in places:
        place.mkdir()
    file = workspace.runs / "digits-000/.run.json.x.unfinished"
    file.touch()
    for place in (places[0], places[1], places[3], file):
        os.utime(place, (time.time() - 2 * A_DAY,) * 2)
    held = lock.hold(places[1])
    assert held is not None
    done = clean(workspace, Keep())
    os.close(held)
    assert kinds(done) == [("leftover", ".attempt-dead"), ("leftover", ".run.json.x.unfinished"), ("leftover", "half")]
    assert places[1].exists()
    assert places[2].exists()


def test_a_dataset_that_a_process_is_at_is_kept(workspace: Workspace):
    for number in range(5):
        night(workspace, number)
    held = lock.hold(workspace.datasets / "data-000")
    assert held is not None
    clean(workspace, KEEP)
    os.close(held)
    assert datasets(workspace) == ["data-000", "data-002", "data-003", "data-004"]


def test_where_mlflow_s_database_cannot_be_read_nothing_is_removed(workspace: Workspace):
    for number in range(5):
        night(workspace, number)
    workspace.database.write_bytes(b"no database, but longer than the head of one: " + b"x" * 200)
    with pytest.raises(WorkError, match="cannot be read, and nothing was removed"):
        clean(workspace, KEEP)
    assert len(runs(workspace)) == len(datasets(workspace)) == 5


def test_checkpoints_from_before_the_oldest_run_that_is_kept_are_taken(workspace: Workspace):
    for number in range(5):
        night(workspace, number)
    for name, number in (("old", 1), ("needed", 2), ("held", 0)):
        folder = workspace.checkpoints / name
        folder.mkdir(parents=True)
        moment = (FIRST + timedelta(days=number, hours=1)).timestamp()
        os.utime(folder, (moment, moment))
    with lock.exclusive(workspace.checkpoints / "held.lock"):
        done = clean(workspace, KEEP)
    assert ("checkpoints", "old") in kinds(done)
    assert sorted(folder.name for folder in workspace.checkpoints.iterdir()) == ["held", "needed"]


class Killed(BaseException):
    """kill -9: nothing that tidies up gets to know of it."""


@pytest.mark.parametrize("at", range(6))
def test_a_kill_leaves_no_half_folder_and_the_next_call_removes_the_rest(
    workspace: Workspace, at: int, monkeypatch: pytest.MonkeyPatch
):
    for number in range(5):
        night(workspace, number)
    count = 0

    def killing(function: Callable[..., Any]) -> Callable[..., Any]:
        def killed(*given: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count > at:
                raise Killed
            return function(*given, **named)

        return killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killing(Path.rename))
        patched.setattr(shutil, "rmtree", killing(shutil.rmtree))
        with suppress(Killed):
            clean(workspace, KEEP)
    for folder in workspace.runs.iterdir():
        assert (folder / "train/model/weights").is_file()
    for dataset in workspace.datasets.iterdir():
        assert len(list(dataset.iterdir())) == 2
    clean(workspace, KEEP)
    assert runs(workspace) == ["digits-002", "digits-003", "digits-004"]
    assert datasets(workspace) == ["data-002", "data-003", "data-004"]
    assert not (workspace.folder / ".trash").exists()


def test_two_at_once_are_refused_and_a_run_begins_only_between_the_renames(workspace: Workspace):
    held = lock.hold(workspace.folder / retention.ALONE)
    assert held is not None
    with pytest.raises(RequestError, match="another `elboflow clean` is at work"):
        clean(workspace, KEEP)
    os.close(held)
    with workspace.beginning():
        assert lock.is_held(workspace.folder / ".beginning.lock")


@pytest.mark.slow
def test_a_year_of_nights_does_not_fill_the_disk(workspace: Workspace, registered: Registered):
    keep = Keep(runs=30, datasets="referenced")
    largest = 0
    timing, keys = Timing("0 2 * * *"), [Key("nightly", FIRST + timedelta(days=number)) for number in range(365)]
    with Store(workspace.folder) as schedules, schedules.transaction():
        schedules.add(Schedule("nightly", "digits", {}, str(workspace.folder), timing, False, FIRST, FIRST))
        schedules.record(
            Tick(key, "tick", "succeeded", started=key.time, ended=key.time, run=f"digits-{number:03}")
            for number, key in enumerate(keys)
        )
    for number, key in enumerate(keys):
        folder = night(workspace, number)
        tick_folder(workspace.folder, key).mkdir(parents=True)
        (tick_folder(workspace.folder, key) / LOG).write_bytes(b"l" * 1000)
        checkpoints = workspace.checkpoints / f"{number:03}"
        checkpoints.mkdir(parents=True)
        moment = (FIRST + timedelta(days=number, minutes=10)).timestamp()
        os.utime(checkpoints, (moment, moment))
        if number % 60 == 0:
            registered(folder.name, f"data-{number:03}", promoted=True)
        if number % 5 == 4 or number > 360:
            clean(workspace, keep)
            largest = max(largest, len(runs(workspace)))
    older_promotions = len(range(0, 365 - 30, 60))
    assert largest == len(runs(workspace)) == 30 + older_promotions
    assert len(datasets(workspace)) == len(runs(workspace))
    ticks = tick_folder(workspace.folder, keys[0]).parent
    assert len(list(ticks.iterdir())) == len(runs(workspace))
    assert size(workspace.runs) + size(workspace.datasets) + size(ticks) < 6000 * len(runs(workspace))


@pytest.fixture
def command(workspace: Workspace) -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["clean", "--workspace", str(workspace.folder), *arguments])

    return run


def test_the_command_reads_the_settings_and_says_what_it_removed(workspace: Workspace, command: Callable[..., Any]):
    for number in range(5):
        night(workspace, number)
    done = command()
    assert done.exit_code == 0
    assert "removed nothing: 0 B" in done.stderr
    assert "keep: {runs: 30, datasets: referenced}" in done.stderr
    (workspace.folder / SETTINGS).write_text("keep: {runs: 3, datasets: referenced}\n", encoding="utf-8")
    asked = command("--dry-run", "--json")
    said = json.loads(asked.stdout)
    assert said["dry_run"] is True
    assert {item["path"] for item in said["items"]} == {
        "runs/digits-000", "runs/digits-001", "datasets/data-000", "datasets/data-001",
    }  # fmt: skip
    done = command()
    assert "removed 2 runs, 2 datasets:" in done.stderr
    assert len(done.stdout.splitlines()) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keep:\n  runs: 0\n", "workspace.yaml:2: keep.runs: 0 is not allowed"),
        ("keep: {run: 3}\n", "keep.run: unknown key; did you mean 'runs'?"),
        ("keep: {datasets: some}\n", "keep.datasets"),
        ("keep: [\n", "workspace.yaml"),
        ("- keep\n", "workspace.yaml"),
    ],
)
def test_a_mistake_in_the_settings_is_told_with_its_place_and_nothing_is_removed(
    workspace: Workspace, command: Callable[..., Any], text: str, said: str
):
    (workspace.folder / SETTINGS).write_text(text, encoding="utf-8")
    done = command()
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_workspace_that_is_not_there_is_refused(tmp_path: Path):
    done = CliRunner().invoke(app, ["clean", "--workspace", str(tmp_path / "nowhere")])
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])


def test_the_trials_of_a_sweep_go_with_its_run_and_never_while_it_is_at_work(workspace: Workspace):
    for number in range(6):
        night(workspace, number)
    states = {
        "old": (0, "succeeded"),
        "unfinished": (1, "running"),
        "locked": (2, "succeeded"),
        "new": (5, "succeeded"),
    }
    for name, (number, status) in states.items():
        folder = workspace.sweeps / name
        (folder / "trials/1234").mkdir(parents=True)
        (folder / "trials/1234/weights").write_bytes(b"w" * 1000)
        state = {"run": f"digits-{number:03}", "status": status}
        (folder / "sweep.json").write_text(json.dumps(state), encoding="utf-8")
    (workspace.sweeps / "damaged").mkdir()
    (workspace.sweeps / "damaged/sweep.json").write_text("{", encoding="utf-8")
    held = lock.hold(workspace.sweeps / "locked/.lock")
    assert held is not None
    done = clean(workspace, KEEP)
    os.close(held)
    assert ("sweep", "old") in kinds(done)
    assert sorted(folder.name for folder in workspace.sweeps.iterdir()) == ["damaged", "locked", "new", "unfinished"]


def test_folders_of_ticks_go_but_the_newest_those_of_kept_runs_and_those_at_work(workspace: Workspace):
    for number in range(6):
        night(workspace, number)
    keys = [Key("nightly", FIRST + timedelta(days=number)) for number in range(9)]
    with Store(workspace.folder) as schedules:
        timing = Timing("0 2 * * *")
        schedules.add(Schedule("nightly", "digits", {}, str(workspace.folder), timing, False, FIRST, FIRST))
        ended = Tick(keys[0], "tick", "succeeded", started=FIRST, ended=FIRST, run="digits-000")
        schedules.record([ended, replace(ended, key=keys[1], run="digits-004"), Tick(keys[2], "catch-up", "claimed")])
        schedules.record([replace(ended, key=key, run=None, state="failed") for key in keys[3:]])
    folders = [tick_folder(workspace.folder, key) for key in keys]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "log.txt").write_text("…", encoding="utf-8")
    held = lock.hold(folders[3] / "at-work.lock")
    assert held is not None
    done = clean(workspace, KEEP)
    os.close(held)
    assert [name for kind, name in kinds(done) if kind == "tick"] == [keys[number].folder for number in (0, 4, 5)]
    assert [folder.exists() for folder in folders] == [False, True, True, True, False, False, True, True, True]


@pytest.mark.parametrize("kind", ["fetched", "reproduced"])
def test_what_commands_by_hand_left_goes_after_a_day_but_the_newest_and_what_a_process_is_at(
    workspace: Workspace, kind: str
):
    place: Path = getattr(workspace, kind)
    for number in range(6):
        folder = place / f"{number}"
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - 2 * A_DAY + number,) * 2)
    held = lock.hold(place / "0")
    assert held is not None
    assert clean(workspace, Keep()).items == ()
    assert kinds(clean(workspace, KEEP)) == [(kind, "1"), (kind, "2")]
    os.close(held)
    (place / "0/now").touch()
    assert kinds(clean(workspace, Keep(runs=1))) == [(kind, "3"), (kind, "4"), (kind, "5")]
    assert (place / "0").exists()


def test_the_scheduler_does_it_when_a_run_has_ended_also_while_another_one_is_at_work(workspace: Workspace):
    class Launched:
        """The launcher of two runs, one of which is at work all the time, and the other one until it is not."""

        at_work = True

        def start(self, key: Key) -> None:
            """Nothing is due."""

        def reap(self) -> set[Key]:
            return set()

        def is_running(self, key: Key) -> bool:
            return self.at_work or key.time != FIRST

    for number in range(5):
        night(workspace, number)
    (workspace.folder / SETTINGS).write_text("keep: {runs: 3, datasets: referenced}\n", encoding="utf-8")
    launcher = Launched()
    with Store(workspace.folder) as schedules:
        now = datetime.now(UTC)
        timing = Timing("0 0 29 2 *")
        schedules.add(Schedule("nightly", "digits", {}, str(workspace.folder), timing, False, now, now))
        schedules.record([Tick(Key("nightly", FIRST), "tick", "running", run="digits-004")])
        schedules.record([Tick(Key("nightly", now), "hand", "running", run="digits-000")])
    with Daemon(workspace.folder, launcher) as daemon:
        daemon.look()
        assert len(runs(workspace)) == 5
        launcher.at_work = False
        daemon.look()
        wait_for(lambda: not (workspace.folder / ".trash").exists() and len(datasets(workspace)) == 4, 60)
    assert runs(workspace) == ["digits-000", "digits-002", "digits-003", "digits-004"]


def test_a_run_that_begins_meanwhile_waits_until_the_folders_are_renamed(workspace: Workspace):
    began = threading.Event()

    def begin() -> None:
        with recording.recorded(
            "digits-now", load("digits"), workspace, ("preprocess",), begins=False, announced=False
        ):
            began.set()

    with workspace.beginning():
        thread = threading.Thread(target=begin)
        thread.start()
        assert not began.wait(0.3)
    assert began.wait(30)
    thread.join()
