"""A run that a platform executes with planted secrets leaves none of them in what anybody can read afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.remote import Done, Platform

pytestmark = [pytest.mark.xdist_group("kubeflow"), pytest.mark.usefixtures("mlflow_server")]

PLANTED = {
    "ELBOFLOW_WEBHOOK": "http://127.0.0.1:1/webhook-S3CR3T",
    "MLFLOW_TRACKING_USERNAME": "user-S3CR3T",
    "MLFLOW_TRACKING_PASSWORD": "password-S3CR3T",
    "DATABASE": "database-S3CR3T",
}
SECRET = b"S3CR3T"


@pytest.fixture
def planted(kubeflow: Platform) -> Iterator[Platform]:
    """A Kubeflow that wants a token, with an experiment whose steps get secrets."""
    server = kubeflow.server
    server.secrets["planted"] = {name.lower(): value for name, value in PLANTED.items()}
    references = ", ".join(f"{name}: {{name: planted, key: {name.lower()}}}" for name in PLANTED)
    kubeflow.target = f"{kubeflow.target[:-1]}, credentials: token, secrets: {{{references}}}}}"
    kubeflow.settings["notify"] = "{kind: webhook, when: end}"
    kubeflow.environment["KF_PIPELINES_TOKEN"] = server.token = "token-S3CR3T"
    yield kubeflow
    server.token = None


def holding(*folders: Path) -> list[Path]:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if SECRET in path.read_bytes()]


def look(platform: Platform, done: Done, mlflow: Path) -> Any:
    """Looks for secrets in all that a run leaves, once it has seen that the steps had them; returns the run."""
    run = platform.server.runs[done.result["run"]]
    given = run.execution.run.secrets
    assert all(given[executor] == PLANTED for executor in ("exec-decide", "exec-preprocess", "exec-finish"))
    shown = [done.out + done.err, json.dumps(run.body)]
    for words in (("logs", run.id), ("status", run.id, "--json"), ("runs", "list", "--json")):
        asked = platform.ask(*words)
        assert asked.code == 0, asked.err
        shown.append(asked.out + asked.err)
    assert "the webhook in ELBOFLOW_WEBHOOK cannot be reached: Connection refused" in shown[2]
    assert SECRET.decode() not in "".join(shown)
    its_own = Path(run.execution.run.folder) / "job.json"  # with which the test's server tells its engine
    folders = (platform.workspace, mlflow, Path(platform.server.mounts["minio://"]), its_own.parent)
    assert [path for path in holding(*folders) if path != its_own] == []
    return run


@pytest.mark.slow
def test_a_run_that_fails_on_a_platform_tells_no_secret(planted: Platform, mlflow_folder: Path):
    planted.settings["data.source"] = "{kind: npz, path: /absent/mnist.npz}"
    planted.target = f"{planted.target[:-1]}, volumes: [{{claim: raw, mount: /absent}}]}}"
    done = planted.run()
    assert done.code == 1, done.err
    run = look(planted, done, mlflow_folder)
    assert b"/absent/mnist.npz" in b"".join(step.log.read_bytes() for step in run.execution.failed)
    assert run.body["display_name"].encode() in (mlflow_folder / "mlflow.db").read_bytes()


@pytest.mark.slow
def test_a_whole_run_on_a_platform_leaves_no_secret_anywhere(planted: Platform, mlflow_folder: Path):
    done = planted.run()
    assert done.code == 0, done.err
    look(planted, done, mlflow_folder)
    assert list(Path(planted.server.mounts["minio://"]).rglob("report.html"))
    assert list(mlflow_folder.rglob("report.html"))
