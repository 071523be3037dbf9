"""What MLflow refuses is refused before anything runs, in sentences."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from components.config import RegistryConfig
from components.tracking import preflight
from elboflow.settings import RequestError
from pipelines.cli import app
from pipelines.experiment import load

pytestmark = pytest.mark.xdist_group("mlflow")

REFUSED = ["", " ", "   ", ".", "..", "../x", "..x", "a/b", "/a", "a:b", "a" * 201, "a\nb", "a\x00b", "é"]


@pytest.fixture
def deleted(empty_database: Path, tmp_path: Path) -> Path:
    """A workspace in whose MLflow the experiment `digits` was deleted."""
    (tmp_path / "workspace").mkdir()
    shutil.copy(empty_database, tmp_path / "workspace/mlflow.db")
    with closing(sqlite3.connect(tmp_path / "workspace/mlflow.db")) as database, database:
        database.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, workspace)"
            " VALUES (7, 'digits', 'file:///nowhere', 'deleted', 'default')"
        )
    return tmp_path / "workspace"


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_mlflow_refuses_is_refused_with_the_experiment(name: str):
    with pytest.raises(RequestError, match=r"registry\.model"):
        load("digits", [f"registry.model={json.dumps(name)}"])


@settings(deadline=None)  # the first call imports MLflow
@given(st.text(st.sampled_from("ab.A_- 9/:"), max_size=8))
def test_every_name_that_is_allowed_is_one_that_mlflow_takes(name: str):
    from mlflow.utils.validation import _validate_model_name

    try:
        allowed = RegistryConfig(model=name).model
    except ValidationError:
        return
    _validate_model_name(allowed)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("a" * 251, "has 251 characters"),
        ("a\nb", "control characters"),
        ("""it's "one\"""", "both kinds of quotation marks"),
    ],
)
def test_the_name_of_a_run_is_looked_at_first(name: str, said: str):
    with pytest.raises(RequestError, match=said):
        preflight.check_run_name(name)


def elboflow(workspace: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--workspace", str(workspace)])


@pytest.mark.parametrize(
    "words",
    [
        ["run", "digits"],
        ["run", "digits", "--no-wait"],
        ["sweep", "digits", "--over", "model.latent=2,4"],
        ["schedule", "create", "digits", "--cron", "0 2 * * *"],
        ["step", "register", "digits", "--dataset", ".", "--model", ".", "--evaluation", "."],
    ],
)
def test_an_experiment_that_was_deleted_in_mlflow_is_found_before_anything_runs(words: list[str], deleted: Path):
    done = elboflow(deleted, *words)
    assert done.exit_code == 2, done.output
    assert "the experiment 'digits' was deleted in the MLflow at" in done.stderr
    assert "mlflow experiments restore --experiment-id 7" in done.stderr
    assert not any(path for path in (deleted / "runs").glob("*"))


def test_a_damaged_database_is_found_before_anything_runs(tmp_path: Path):
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 100)
    done = elboflow(tmp_path, "run", "digits")
    assert done.exit_code == 1
    assert f"{tmp_path}/mlflow.db cannot be read: file is not a database; put it away" in done.stderr
    assert not (tmp_path / "runs").exists()
