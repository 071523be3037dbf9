"""A workspace that is copied or moved: its MLflow follows it, and no two write into each other."""

import logging
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from components.registry import resolve
from components.tracking import databases, relocation, store
from elboflow import artifacts
from tests.components.runs import Run

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture
def workspace(tracking_uri: str, written: Callable[..., Run], values: np.ndarray) -> Path:
    """A workspace whose champion is night-1."""
    written("night-1", values).register(tracking_uri)
    return Path(tracking_uri.removeprefix("sqlite:///")).parent


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): artifacts.sha256(path) for path in folder.rglob("*") if path.is_file()}


def uri(workspace: Path) -> str:
    return databases.uri_of(workspace / "mlflow.db")


def locations(workspace: Path) -> set[str]:
    with closing(sqlite3.connect(workspace / "mlflow.db")) as database:
        columns = [f"SELECT {column} FROM {table}" for table, column in relocation._LOCATIONS]
        return {location for query in columns for (location,) in database.execute(query)}


def execute(workspace: Path, *commands: str) -> None:
    with closing(sqlite3.connect(workspace / "mlflow.db")) as database, database:
        for command in commands:
            database.execute(command)


@pytest.mark.parametrize("name", ["copy", "My%20Project", 'a?b#c "d" é\n[x]*'])
def test_a_registration_in_a_copy_is_compared_with_the_copys_champion_and_leaves_the_original_as_it_was(
    name: str, workspace: Path, written: Callable[..., Run], values: np.ndarray, tmp_path: Path
):
    copy = tmp_path / name / "workspace"
    shutil.copytree(workspace, copy)
    before = contents(workspace)
    better = written("night-2", values + 1).register(uri(copy))
    assert better.promoted
    assert better.reason.startswith("better than version 1, the champion")
    assert contents(workspace) == before
    assert sum(path.endswith("/model.keras") for path in contents(copy)) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"workspace", name, "night-1", "night-2"}


def test_a_moved_workspace_has_its_champion_and_the_old_place_is_not_made_again(
    workspace: Path, written: Callable[..., Run], values: np.ndarray, tmp_path: Path
):
    moved = workspace.rename(tmp_path / "moved")
    found = resolve.resolve("models:/digits-vae@champion", moved / "runs", uri(moved))
    assert found.is_relative_to(moved / "mlartifacts")
    assert written("night-2", values - 1).register(uri(moved)).reason.startswith("worse than version 1, the champion")
    assert not workspace.exists()


def test_what_was_mended_is_said_once_with_numbers(workspace: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    moved = workspace.rename(tmp_path / "moved")
    caplog.set_level(logging.WARNING, "elboflow.registry")
    mended = store.mended(uri(moved))
    assert mended == relocation.Mended(
        (str(workspace),), 6, 0
    )  # experiment, run, logged model, version; the history's two
    assert f"was in {workspace} before: 6 locations" in caplog.text
    caplog.clear()
    assert store.mended(uri(moved)) is None
    assert caplog.text == ""


def test_datasets_and_folders_that_mlflow_shows_are_those_of_the_new_place(workspace: Path, tmp_path: Path):
    execute(
        workspace,
        f"""UPDATE datasets SET dataset_source = '{{"uri": "{workspace}/datasets/d"}}'""",
        f"INSERT INTO tags SELECT 'elboflow.link', '{workspace}/runs/night-1', run_uuid FROM runs",
    )
    moved = workspace.rename(tmp_path / "moved")
    store.mended(uri(moved))
    with closing(sqlite3.connect(moved / "mlflow.db")) as database:
        sources = set(database.execute("SELECT dataset_source FROM datasets"))
        (link,) = database.execute("SELECT value FROM tags WHERE key = 'elboflow.link'").fetchone()
    assert sources == {(f'{{"uri": "{moved}/datasets/d"}}',)}
    assert link == f"{moved}/runs/night-1"


@pytest.mark.parametrize(
    "foreign",
    ["s3://bucket/mlartifacts/digits", "file:///elsewhere/mlruns/1", "mlflow-artifacts:/1", "/elsewhere/mlartifacts"],
)
def test_locations_that_no_workspace_has_stay(foreign: str, workspace: Path, tmp_path: Path):
    execute(workspace, f"UPDATE experiments SET artifact_location = '{foreign}' WHERE name = 'digits'")
    moved = workspace.rename(tmp_path / "moved")
    store.mended(uri(moved))
    assert foreign in locations(moved)


def test_a_workspace_that_is_reached_by_a_link_is_where_it_was(workspace: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(workspace)
    before = locations(workspace)
    assert store.mended(uri(tmp_path / "link")) is None
    assert locations(workspace) == before


def test_mending_that_breaks_off_changes_nothing_and_is_done_again(workspace: Path, tmp_path: Path):
    moved = workspace.rename(tmp_path / "moved")
    before = locations(moved)
    stop = "BEFORE UPDATE OF storage_location ON model_versions BEGIN SELECT RAISE(ABORT, 'stopped'); END"
    execute(moved, f"CREATE TRIGGER stop {stop}")
    with pytest.raises(Exception, match="stopped"):
        store.mended(uri(moved))
    assert locations(moved) == before
    execute(moved, "DROP TRIGGER stop")
    assert store.mended(uri(moved)) is not None
    assert not any(str(workspace) in location for location in locations(moved))


def test_files_that_a_copy_once_wrote_into_the_original_come_into_the_copy(
    workspace: Path, written: Callable[..., Run], values: np.ndarray, tmp_path: Path
):
    """As registrations in a copy did when locations were not mended."""
    copy = tmp_path / "copy"
    shutil.copytree(workspace / "mlartifacts", copy / "mlartifacts")
    written("night-2", values + 1).register(uri(workspace))
    shutil.copy(workspace / "mlflow.db", copy / "mlflow.db")
    mended = store.mended(uri(copy))
    assert mended is not None
    assert mended.copied == 2  # the artifacts of night-2's run, and its model
    for place in (copy, workspace):  # those registrations knew no history
        shutil.rmtree(place / "mlartifacts/registered-models")
    assert contents(copy / "mlartifacts") == contents(workspace / "mlartifacts")
    shutil.rmtree(workspace)
    found = resolve.resolve("models:/digits-vae@champion", copy / "runs", uri(copy))
    assert (found / "model.keras").read_bytes() == b"night-2"
