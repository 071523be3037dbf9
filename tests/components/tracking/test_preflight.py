"""What MLflow refuses is refused before anything runs, in sentences."""

import json
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from components.config import RegistryConfig
from components.tracking import preflight, store
from elboflow.settings import RequestError
from elboflow.testing.platforms.wire import free_port
from pipelines.cli import app
from pipelines.experiment import load
from tests.servers.tracking_server import Proxy

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


@pytest.mark.parametrize("how", ["nobody listens", "never answers", "answers 502", "refuses the credentials"])
def test_a_server_that_cannot_be_used_is_found_before_anything_runs(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(preflight, "ANSWER_SECONDS", 1.0)
    with Proxy("http://127.0.0.1:1") as server:
        if how == "never answers":
            server.faults.delay("GET", ".*", 3600, times=None)
        elif how != "nobody listens":
            server.faults.refuse("GET", ".*", 502 if how == "answers 502" else 401, times=None)
        address = f"http://me:S3CR3T@127.0.0.1:{free_port()}" if how == "nobody listens" else server.url
        monkeypatch.setenv("ELBOFLOW_TRACKING_URI", "http://another:5000")
        started = time.monotonic()
        done = elboflow(tmp_path, "run", "digits", "--tracking-uri", address)
        assert time.monotonic() - started < 5
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the MLflow at http://")
    assert "nothing was started" in line
    assert "S3CR3T" not in done.output
    assert not any(tmp_path.glob("runs/*"))


def test_a_database_server_that_nobody_serves_is_found_before_anything_runs():
    with pytest.raises(RequestError, match=r"the MLflow at postgresql://.* does not answer: Connection refused"):
        preflight.check(f"postgresql://me:S3CR3T@127.0.0.1:{free_port()}/mlflow", "digits")


def test_a_platform_s_mlflow_is_not_named_by_an_option(tmp_path: Path):
    done = elboflow(tmp_path, "run", "digits", "--target", "vertex", "--tracking-uri", "http://mlflow:5000")
    assert done.exit_code == 2
    assert "--tracking-uri: is of runs on this machine; that of vertex is targets.vertex.tracking_uri" in done.stderr


@pytest.mark.parametrize("by", ["--tracking-uri", "ELBOFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI"])
def test_a_model_is_looked_for_in_the_mlflow_that_is_named(
    by: str, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store.connect(mlflow_server).create_registered_model(f"faces-{by}")
    words = ["generate", f"models:/faces-{by}@champion", "--output", "x.png"]
    if by == "--tracking-uri":
        words += [by, mlflow_server]
    else:
        monkeypatch.setenv(by, mlflow_server)
    done = elboflow(tmp_path, *words)
    assert done.exit_code == 2
    assert f"faces-{by} has no version with the alias 'champion'" in done.stderr


def test_a_damaged_database_is_found_before_anything_runs(tmp_path: Path):
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 100)
    done = elboflow(tmp_path, "run", "digits")
    assert done.exit_code == 1
    assert f"{tmp_path}/mlflow.db cannot be read: file is not a database; put it away" in done.stderr
    assert not (tmp_path / "runs").exists()
