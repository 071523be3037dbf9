"""Secrets reach the body of a step and nothing else: no log, no error, no MLflow, no report."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest

from components.surroundings.masking import masked
from elboflow.settings import RequestError, WorkError, variables
from pipelines.step_process import secrets
from pipelines.step_process.secrets import reveal
from tests.pipelines.google_api import Server, serving

VERSION = "projects/p/secrets/password/versions/latest"
PASSWORD = "hunter2-S3CR3T"

# A step whose body is given, and which does with a secret whatever a careless body would do.
CARELESS = """
import json, logging, os, sys, warnings
from pipelines.step_process.process import step
from elboflow.settings import RequestError, WorkError
with step(sys.argv[1] + "/model"):
    secret = os.environ["DATABASE"]
    assert sys.argv[2] == str(len(secret)), "the body has the secret itself"
    logging.getLogger("elboflow.test").info("it is %s", secret)
    logging.getLogger("elboflow.test").info("it is %s", json.dumps({"it": secret}))
    logging.getLogger("library").warning("it is %s", secret)
    warnings.warn(f"it is {secret}")
    print("it is", secret, end="", flush=True)
    print("it is", secret, file=sys.stderr)
    BODY
"""


def careless(body: str, folder: Path, secret: str, environment: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", CARELESS.replace("BODY", body), str(folder), str(len(secret))],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout


def payload(data: bytes, checksum: int | None = None) -> tuple[int, Any]:
    crc32c = google_crc32c.value(data) if checksum is None else checksum
    return 200, {
        "name": VERSION,
        "payload": {"data": base64.b64encode(data).decode(), "dataCrc32c": str(crc32c)},
    }


def refusal(code: int, status: str) -> tuple[int, Any]:
    return code, {"error": {"code": code, "message": status.lower(), "status": status}}


Serve = Callable[[tuple[int, Any]], Server]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """A Secret Manager that holds one secret, and a step that names it."""
    answers: dict[str, tuple[int, Any]] = {}
    with serving(tmp_path, monkeypatch, answers) as server:
        monkeypatch.setenv(variables.SECRET_MANAGER_ENDPOINT, server.endpoint)
        monkeypatch.setenv("DATABASE", f"{secrets.PREFIX}{VERSION}")

        def hold(answer: tuple[int, Any]) -> Server:
            answers[f"/v1/{VERSION}:access"] = answer
            return server

        yield hold


def test_a_variable_that_names_a_secret_becomes_its_value(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    server = serve(payload(PASSWORD.encode()))
    monkeypatch.setenv("OTHER", "secret manager")
    reveal()
    assert os.environ["DATABASE"] == PASSWORD
    assert os.environ["OTHER"] == "secret manager"
    assert masked(f"password: {PASSWORD}") == "password: ***"
    reveal()
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refusal(403, "PERMISSION_DENIED"), RequestError, "give it the role roles/secretmanager.secretAccessor"),
        (refusal(404, "NOT_FOUND"), RequestError, "does not exist"),
        (refusal(401, "UNAUTHENTICATED"), WorkError, "cannot be read"),
        (payload(b"hunter2", checksum=1), WorkError, "arrived damaged"),
        (payload(b"\xff\xfe"), RequestError, "holds bytes that are no text"),
        (payload(b"a\0b"), RequestError, "holds bytes that are no text"),
    ],
)
def test_a_secret_that_cannot_be_had_is_named(serve: Serve, answer: Any, kind: type[Exception], words: str):
    serve(answer)
    with pytest.raises(kind, match=words) as error:
        reveal()
    assert f"the secret {VERSION} of the variable DATABASE" in str(error.value)


def test_a_secret_manager_that_is_away_for_a_moment_is_asked_again(serve: Serve):
    import threading

    serve(refusal(503, "UNAVAILABLE"))
    threading.Timer(1.0, lambda: serve(payload(PASSWORD.encode()))).start()
    reveal()
    assert os.environ["DATABASE"] == PASSWORD


def test_without_credentials_it_is_said(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    serve(payload(b""))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(RequestError, match="no credentials to read secrets with"):
        reveal()


ENDINGS = {
    "pass": 0,
    "raise RequestError(f'no database at {secret}')": 2,
    "raise WorkError(f'no database at {secret}')": 1,
    "raise KeyError(secret)": 1,
}


@pytest.mark.parametrize("body", ENDINGS)
def test_a_revealed_secret_is_in_no_line_of_the_step(serve: Serve, tmp_path: Path, body: str):
    serve(payload(PASSWORD.encode()))
    code, said = careless(body, tmp_path, PASSWORD, {})
    assert code == ENDINGS[body], said
    assert "[elboflow] it is ***" in said
    assert said.count("it is") >= 6
    assert "S3CR3T" not in said
    left = [path for path in tmp_path.iterdir() if path.name not in ("authority.pem", "account.json")]
    assert [path.name for path in left] == (["refused.txt"] if code == 2 else [])
    assert not any("S3CR3T" in path.read_text(encoding="utf-8") for path in left)


@pytest.mark.parametrize(
    "secret",
    [
        "S3CR3T",
        'quoted "S3CR3T" \\ and / more',
        "-----BEGIN KEY-----\nS3CR3T-line-1\nS3CR3T-line-2\n-----END KEY-----\n",
    ],
)
def test_a_listed_variable_is_hidden_in_all_its_forms(tmp_path: Path, secret: str):
    environment = {"ELBOFLOW_SECRETS": "OTHER, DATABASE", "DATABASE": secret}
    code, said = careless("raise WorkError(f'no database at {secret}')", tmp_path, secret, environment)
    assert code == 1, said
    assert "S3CR3T" not in said


def test_variables_by_whose_name_they_are_secret_are_hidden(monkeypatch: pytest.MonkeyPatch):
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "KF_PIPELINES_COOKIE", "ELBOFLOW_WEBHOOK"):
        monkeypatch.setenv(name, f"{name}-S3CR3T")
        assert masked(f"it is {name}-S3CR3T.") == "it is ***."
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_TOKEN", "none")  # too short to be one, and a word
    assert masked("none was found") == "none was found"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:S3CR3T@mlflow.example/api", "https://***@mlflow.example/api"),
        ("no mail to https://mlflow.example/a@b", "no mail to https://mlflow.example/a@b"),
        ("postgresql://me:S3/CR3T%40@db", "postgresql://me:S3/CR3T%40@db"),  # no address: a slash ends the host
    ],
)
def test_what_stands_before_the_at_of_an_address_is_hidden(text: str, shown: str):
    assert masked(text) == shown


FAIL = """
import sys
from components.config import Webhook
from components.finish import finish
from components.surroundings.notify import RunEnd
from pipelines.step_process.process import step
with step():
    experiment, tracking_uri = {"name": "digits", "seed": 0}, sys.argv[1]
    for address in (tracking_uri, tracking_uri.replace("127.0.0.1", "127.0.0.2")):
        ending = RunEnd("n-1", "digits", "failed", "train", f"cannot reach {tracking_uri}", address)
        finish(ending, experiment, Webhook(), address)
"""


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A real MLflow server; its port and its folder."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    with (folder / "server.log").open("wb") as log:
        quick = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=quick)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "server.log").read_text(encoding="utf-8")
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield port, folder
    finally:
        process.terminate()
        process.wait(20)


def planted(port: int) -> dict[str, str]:
    """An environment in which everything that may hold a secret does."""
    return {
        **os.environ,
        "ELBOFLOW_TRACKING_URI": f"http://me:userinfo-S3CR3T@127.0.0.1:{port}",
        "ELBOFLOW_WEBHOOK": "http://127.0.0.1:1/webhook-S3CR3T",
        "MLFLOW_TRACKING_PASSWORD": "password-S3CR3T",
        "ELBOFLOW_SECRETS": "DATABASE",
        "DATABASE": "database-S3CR3T",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    }


def holding(secret: bytes, *folders: Path) -> list[Path]:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if secret in path.read_bytes()]


@pytest.mark.slow
@pytest.mark.xdist_group("mlflow")
def test_a_whole_run_leaves_no_secret_anywhere(mlflow_server: tuple[int, Path], tmp_path: Path):
    port, folder = mlflow_server
    settings = [*SHORT, "notify={kind: webhook, when: end}"]
    command = [sys.executable, "-m", "pipelines", "run", "digits", "--workspace", str(tmp_path / "workspace"), "--json"]
    command += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, env=planted(port))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["mlflow"]["tracking_uri"] == f"http://127.0.0.1:{port}"
    assert "the webhook in ELBOFLOW_WEBHOOK cannot be reached: Connection refused" in done.stderr
    assert "S3CR3T" not in done.stdout + done.stderr
    assert list(tmp_path.rglob("report.html"))
    assert list(folder.rglob("report.html"))
    assert holding(b"S3CR3T", tmp_path, folder) == []


SHORT = [
    "training.epochs=1",
    "model.latent=4",
    "evaluation.bound_samples=5",
    "evaluation.bootstrap_samples=100",
    "registry.canary=false",
    "registry.baseline=false",
]


@pytest.mark.slow
def test_a_secret_in_the_path_of_the_data_is_hidden_in_everything_that_a_run_writes(tmp_path: Path):
    data = tmp_path / "database-S3CR3T" / "digits.npz"
    data.parent.mkdir()
    images = np.random.default_rng(0).integers(0, 2, (200, 8, 8, 1), np.uint8)
    np.savez(data, image=images)
    settings = [*SHORT, f"data.source={{kind: npz, path: '{data}'}}"]
    settings += ["data.features={image: {kind: image, shape: [8, 8, 1], range: [0, 1]}}"]
    workspace = tmp_path / "workspace"
    command = [sys.executable, "-m", "pipelines", "run", "digits", "--workspace", str(workspace), "--json"]
    command += [word for setting in settings for word in ("--set", setting)]
    environment = {**os.environ, "DATABASE_KEY": "database-S3CR3T"}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert "S3CR3T" not in done.stdout + done.stderr
    assert holding(b"S3CR3T", workspace) == []
    assert b"/***/digits.npz" in (workspace / "mlflow.db").read_bytes()
    again = subprocess.run(
        [*command, "--if-changed"], capture_output=True, encoding="utf-8", timeout=300, env=environment
    )
    assert json.loads(again.stdout)["status"] == "skipped", again.stderr


def test_a_pipeline_that_would_show_a_secret_is_not_compiled(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    from pipelines.cli import app

    monkeypatch.setenv("STRIPE_KEY", "hunter2-S3CR3T")
    target = "targets.kubeflow={image: i, tracking_uri: 'http://mlflow', host: 'http://kubeflow'}"
    source = "data.source={kind: npz, path: 'gs://bucket/hunter2-S3CR3T/x.npz'}"
    words = ["compile", "digits", "--target", "kubeflow", "--set", target, "--set", source, "--output", "p.yaml"]
    with pytest.raises(SystemExit) as ended:
        app(words)
    assert ended.value.code == 2
    said = capfd.readouterr().err
    assert said.startswith(
        "error: data.source.path: holds the value of $STRIPE_KEY, a secret, and the compiled pipeline"
    )
    assert "S3CR3T" not in said


@pytest.mark.slow
@pytest.mark.xdist_group("mlflow")
def test_a_run_that_fails_tells_no_secret(mlflow_server: tuple[int, Path]):
    port, folder = mlflow_server
    environment = planted(port)
    command = [sys.executable, "-c", FAIL, environment["ELBOFLOW_TRACKING_URI"]]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, env=environment)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert said.count("the webhook in ELBOFLOW_WEBHOOK cannot be reached: Connection refused") == 2
    assert f"cannot use the MLflow at http://***@127.0.0.2:{port}" in said
    assert "S3CR3T" not in said
    assert b"cannot reach http://***@127.0.0.1" in (folder / "mlflow.db").read_bytes()
    assert holding(b"S3CR3T", folder) == []
