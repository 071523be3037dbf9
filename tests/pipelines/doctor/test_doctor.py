"""`elboflow doctor`: what is well, what is ill and how to mend it, against servers that speak the public APIs."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines import doctor
from pipelines.cli import app
from pipelines.doctor import Check, Finding, devices, images, installed, tracking, workspaces
from tests.pipelines.doctor.cloud import Cloud
from tests.preprocessing.dataflow_server import service_account


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with Cloud() as server:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(tmp_path, f"{server.url}/token")))
        monkeypatch.setenv("GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED", "false")
        monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
        for api in ("STORAGE", "SERVICEUSAGE"):
            monkeypatch.setenv(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}", server.url)
        yield server


def examined(target: str, *words: str) -> tuple[int, dict[str, Finding]]:
    done = CliRunner().invoke(app, ["doctor", "--target", target, "--experiment", "digits", "--json", *words])
    told = json.loads(done.stdout)
    assert told["well"] is (done.exit_code == 0)
    return done.exit_code, {each["what"]: Finding(**each) for each in told["findings"]}


def vertex(cloud: Cloud, more: str = "", bucket: str = "data") -> list[str]:
    target = (
        f"{{project: elbo-prod, location: europe-west4, root: 'gs://{bucket}/vae', image: '{cloud.address}/vae/cpu:1', "
        f"tracking_uri: '{cloud.url}/mlflow'{more}}}"
    )
    return ["--set", f"targets.vertex={target}"]


def kubeflow(cloud: Cloud, more: str = "") -> list[str]:
    target = (
        f"{{image: '{cloud.address}/vae/cpu:1', tracking_uri: '{cloud.url}/mlflow', host: '{cloud.url}', "
        f"credentials: {{kind: token, variable: KF_TOKEN}}{more}}}"
    )
    return ["--set", f"targets.kubeflow={target}"]


def test_a_machine_that_is_well_is_told_line_by_line(tmp_path: Path):
    done = CliRunner().invoke(app, ["doctor", "--workspace", str(tmp_path / "new")])
    assert done.exit_code == 0, done.stdout
    assert [line.partition(":")[0] for line in done.stdout.splitlines() if not line.startswith("  ")] == [
        "✓ Python",
        "✓ packages",
        "✓ devices",
        f"✓ workspace {tmp_path}/new",
        "✓ MLflow",
    ]
    assert not (tmp_path / "new").exists()


def test_a_project_that_is_well_is_well(cloud: Cloud):
    cloud.limits = {"custom_model_training_nvidia_t4_gpus": {"europe-west4": 1, None: 0}}
    code, found = examined("vertex", *vertex(cloud, ", train: {accelerator: t4}"))
    assert code == 0, found
    assert "robot@" in found["credentials"].found
    assert found["APIs"].found == "enabled: aiplatform, logging, storage"
    assert found["bucket gs://data"].state == "well"
    assert found[f"image {cloud.address}/vae/cpu:1"].found == "is there: sha256:0123"
    assert found["quota for train: 1 t4 in europe-west4"].state == "well"
    assert found[f"MLflow {cloud.url}/mlflow"].state == "well"


def test_everything_that_is_ill_says_how_to_mend_it(cloud: Cloud):
    cloud.enabled, cloud.allowed, cloud.images = {"storage"}, {"storage.objects.get"}, set()
    cloud.limits = {"custom_model_training_nvidia_t4_gpus": {None: 1}}
    cloud.mlflow = "1.30.0"
    more = (
        ", train: {accelerator: {kind: t4, count: 2}}, service_account: steps@p, "
        "runner: dataflow, repository: 'https://europe-west4-kfp.pkg.dev/p/r', "
        "secrets: {A: projects/p/secrets/a/versions/1}"
    )
    code, found = examined("vertex", *vertex(cloud, more))
    ill = {what: finding.mend for what, finding in found.items() if finding.state == "ill"}
    assert code == 1
    for api in ("aiplatform", "artifactregistry", "compute", "dataflow", "logging", "secretmanager"):
        assert ill[f"API {api}.googleapis.com"] == f"gcloud services enable {api}.googleapis.com --project elbo-prod"
    assert "API storage.googleapis.com" not in found
    assert (
        "lack storage.objects.create, storage.objects.delete, storage.objects.list" in found["bucket gs://data"].found
    )
    assert ill["bucket gs://data"].endswith("--role roles/storage.objectUser --member serviceAccount:steps@p")
    assert "infra/images/build.sh" in ill[f"image {cloud.address}/vae/cpu:1"]
    assert found["quota for train: 2 t4 in europe-west4"].found == "custom_model_training_nvidia_t4_gpus is 1"
    assert "ask for 2 or more" in ill["quota for train: 2 t4 in europe-west4"]
    assert found[f"MLflow {cloud.url}/mlflow"].found.startswith("is 1.30.0; the client here is ")


def test_spot_machines_need_the_quota_of_preemptible_ones(cloud: Cloud):
    cloud.limits = {
        "custom_model_training_nvidia_t4_gpus": {None: 8},
        "custom_model_training_preemptible_nvidia_t4_gpus": {"europe-west4": 0},
    }
    code, found = examined("vertex", *vertex(cloud, ", train: {accelerator: t4, provisioning: spot}"))
    assert code == 1
    assert (
        found["quota for train: 1 t4 in europe-west4"].found == "custom_model_training_preemptible_nvidia_t4_gpus is 0"
    )
    cloud.limits["custom_model_training_preemptible_nvidia_t4_gpus"] = {None: -1}
    _, found = examined("vertex", *vertex(cloud, ", train: {accelerator: t4, provisioning: spot}"))
    assert found["quota for train: 1 t4 in europe-west4"].found == "unlimited"


def test_what_cannot_be_told_is_no_illness(cloud: Cloud):
    cloud.faults.refuse("GET", "/v1/projects/.*", 403, "Permission denied on serviceusage", times=None)
    code, found = examined("vertex", *vertex(cloud, ", train: {accelerator: t4}"))
    assert code == 0
    assert found["APIs"].state == "unknown"
    assert found["APIs"].found == "serviceusage answers 403: Permission denied on serviceusage"
    assert found["quota for train: 1 t4 in europe-west4"].state == "unknown"


def test_a_bucket_that_is_not_there_comes_with_the_command_that_makes_it(cloud: Cloud):
    code, found = examined("vertex", *vertex(cloud, bucket="absent"))
    assert code == 1
    assert found["bucket gs://absent"].mend == (
        "gcloud storage buckets create gs://absent --location europe-west4 --project elbo-prod"
    )


def test_absent_credentials_are_told_once_and_hold_up_nothing(cloud: Cloud, tmp_path: Path, monkeypatch):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    code, found = examined("vertex", *vertex(cloud))
    assert code == 1
    assert found["credentials"].mend == "gcloud auth application-default login"
    assert [what for what, finding in found.items() if finding.state == "ill"] == ["credentials"]
    assert found["bucket gs://data"].found == "there are no credentials to ask with"
    assert found[f"image {cloud.address}/vae/cpu:1"].state == "well"


def test_credentials_that_google_refuses_are_told(cloud: Cloud):
    cloud.faults.refuse("POST", "/token", 400, "invalid_grant", times=None)
    code, found = examined("vertex", *vertex(cloud))
    assert code == 1
    assert found["credentials"].state == "ill"
    assert found["credentials"].mend == "renew them: gcloud auth application-default login"


def test_a_public_image_is_found_with_the_token_that_its_registry_gives_to_anybody(cloud: Cloud):
    cloud.login = True
    found = images.Registry(lambda: "of-google").image(f"{cloud.address}/vae/cpu:1")
    assert found.state == "well"
    assert all(request.headers.get("authorization") != "Bearer of-google" for request in cloud.requests)


def test_a_private_image_cannot_be_told(cloud: Cloud):
    cloud.faults.refuse("HEAD", "/v2/.*", 401, times=None)
    found = images.Registry(lambda: None).image(f"{cloud.address}/vae/cpu:1")
    assert (found.state, found.mend) == (
        "unknown",
        "the cluster needs a pull secret for it: targets.kubeflow.pull_secrets",
    )


@pytest.mark.parametrize(
    ("image", "registry", "repository", "reference", "is_googles"),
    [
        ("python", "registry-1.docker.io", "library/python", "latest", False),
        ("me/vae:1", "registry-1.docker.io", "me/vae", "1", False),
        ("localhost:5000/vae", "localhost:5000", "vae", "latest", False),
        ("europe-docker.pkg.dev/p/r/vae:1@sha256:ab", "europe-docker.pkg.dev", "p/r/vae", "sha256:ab", True),
        ("eu.gcr.io/p/vae@sha256:ab", "eu.gcr.io", "p/vae", "sha256:ab", True),
        ("evilgcr.io/p/vae:1", "evilgcr.io", "p/vae", "1", False),
        ("x.pkg.dev.evil.io/p/vae:1", "x.pkg.dev.evil.io", "p/vae", "1", False),
        ("gcr.io:444/p/vae:1", "gcr.io:444", "p/vae", "1", False),
    ],
)
def test_images_are_asked_for_where_engines_would_and_only_google_gets_googles_token(
    image: str, registry: str, repository: str, reference: str, is_googles: bool, monkeypatch: pytest.MonkeyPatch
):
    import requests

    asked = []

    def head(address: str, headers: dict[str, str], timeout: float) -> requests.Response:
        asked.append((address, headers.get("Authorization")))
        answer = requests.Response()
        answer.status_code = 200
        return answer

    monkeypatch.setattr(requests, "head", head)
    assert images.Registry(lambda: "token").image(image).state == "well"
    scheme = "http" if registry.startswith("localhost") else "https"
    expected = f"{scheme}://{registry}/v2/{repository}/manifests/{reference}"
    assert asked == [(expected, "Bearer token" if is_googles else None)]


def test_kubeflow_answers_whoever_has_the_token(cloud: Cloud, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("KF_TOKEN", raising=False)
    what = f"Kubeflow {cloud.url}"
    code, found = examined("kubeflow", *kubeflow(cloud))
    assert code == 1
    assert (found["credentials"].found, found["credentials"].mend) == ("$KF_TOKEN is empty", "export KF_TOKEN=…")
    assert found[what].found == "asks for a login (302)"
    monkeypatch.setenv("KF_TOKEN", "of-kubeflow")
    code, found = examined("kubeflow", *kubeflow(cloud))
    assert (code, found[what].state) == (0, "well")
    code, found = examined("kubeflow", *kubeflow(cloud, ", namespace: others"))
    assert (code, found[what].found) == (1, "forbids the namespace others (403)")
    cloud.namespaces = None
    assert examined("kubeflow", *kubeflow(cloud))[0] == 0
    assert "of-kubeflow" not in str(found)


def test_without_a_host_kubeflow_needs_a_kubeconfig(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    words = ["--set", f"targets.kubeflow={{image: '{cloud.address}/vae/cpu:1', tracking_uri: '{cloud.url}/mlflow'}}"]
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    code, found = examined("kubeflow", *words)
    assert code == 1
    assert "there is no kubeconfig" in found["credentials"].found
    (tmp_path / "config").write_text("")
    code, found = examined("kubeflow", *words)
    assert (code, found["credentials"].state, found["Kubeflow"].state) == (0, "well", "unknown")


def test_mlflow_behind_a_password_is_asked_with_it(cloud: Cloud, monkeypatch: pytest.MonkeyPatch):
    cloud.mlflow = "guarded"
    found = tracking.server(f"{cloud.url}/mlflow")
    assert (found.state, found.found) == ("ill", "refuses the credentials (401)")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    assert tracking.server(f"{cloud.url}/mlflow/").state == "well"
    assert tracking.server(cloud.url).found == "is no MLflow: it answers 404"


def test_a_workspace_is_looked_at_with_its_mlflow_and_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    told = workspaces.workspace(tmp_path / "file" / "below")
    assert (told.state, "cannot be written to" in told.found) == ("ill", True)
    monkeypatch.setattr(workspaces, "ROOM", 1e18)
    told = workspaces.workspace(tmp_path)
    assert (told.state, told.mend) == ("ill", "make room for at least 1e+09 GB, or choose another --workspace")
    (tmp_path / "mlflow.db").write_text("no database, but longer than the header of one" * 10)
    assert tracking.local(tmp_path).state == "ill"
    (tmp_path / "mlflow.db").unlink()
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE runs (id TEXT)")
        database.execute("INSERT INTO runs VALUES ('a')")
    assert tracking.local(tmp_path).found.endswith("1 runs in mlflow.db")


def test_packages_that_are_absent_or_too_old_are_told_with_their_command(monkeypatch: pytest.MonkeyPatch):
    wanted = ["pip-that-is-not>=1", "pydantic>=999", "numpy>=2", "jax>=0.10; extra == 'jax'", "ruff; extra == 'dev'"]
    monkeypatch.setattr(installed.metadata, "requires", lambda name: wanted)
    found = {each.what: each for each in installed.packages("tensorflow")}
    assert set(found) == {"package pip-that-is-not", "package pydantic"}
    assert found["package pip-that-is-not"].mend == "pip install -c constraints.txt 'pip-that-is-not>=1'"
    assert "needed: >=999" in found["package pydantic"].found
    wanted[:] = ["jax>=999; extra == 'jax'"]
    assert [each.what for each in installed.packages("jax")] == ["package jax"]
    assert [each.state for each in installed.packages("tensorflow")] == ["well"]


def test_versions_that_were_not_tested_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pins = tmp_path / "constraints.txt"
    pins.write_text("# pins\nnumpy==0.1  # old\nNothing==1\n")
    assert installed.tested(pins) == {"numpy": "0.1", "nothing": "1"}
    assert installed.tested(tmp_path / "absent") == {}
    monkeypatch.setattr(installed, "tested", lambda path: {"numpy": "0.1"})
    (found,) = installed.packages("tensorflow")
    assert (found.state, "other versions than those tested: numpy 2" in found.found) == ("well", True)


@pytest.fixture
def gpu_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose nvidia-smi tells of a GPU."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA L4, 23034 MiB'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def test_a_gpu_that_the_framework_does_not_see_is_ill(gpu_machine: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(devices._SEEN, "jax", "print('chatter'); print(0)")
    found = devices.devices("jax", gpu_machine)
    assert (found.state, found.mend) == ("ill", "pip install 'jax[cuda12]' for GPUs, 'jax[tpu]' for TPUs")
    assert "NVIDIA L4 23034 MiB; jax does not see them" in found.found
    monkeypatch.setitem(devices._SEEN, "jax", "print(1)")
    assert devices.devices("jax", gpu_machine).state == "well"
    monkeypatch.setitem(devices._SEEN, "jax", "raise ImportError")
    assert "could not be asked" in devices.devices("jax", gpu_machine).found


def test_a_tpu_is_known_by_its_device_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(devices._SEEN, "jax", "print(4)")
    for number in range(4):
        (tmp_path / f"accel{number}").write_text("")
    assert devices.devices("jax", tmp_path).found.endswith("4 TPU chips; jax sees 4")


def test_the_real_framework_tells_how_many_it_sees():
    pytest.importorskip("jax")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", devices._SEEN["jax"]]
    assert subprocess.run(command, capture_output=True, text=True, env=environment).stdout == "0\n"


def test_checks_are_at_work_side_by_side_and_a_late_or_broken_one_holds_up_nobody(tmp_path: Path, monkeypatch):
    def late() -> Finding:
        time.sleep(30)
        raise AssertionError

    def broken() -> Finding:
        raise RuntimeError("first line\nsecond line")

    slow = [Check(f"slow {n}", lambda n=n: (time.sleep(0.3), Finding(f"slow {n}", "well", ""))[1]) for n in range(10)]
    monkeypatch.setattr(doctor, "checks", lambda *_: [Check("late", late, 0.5), Check("broken", broken), *slow])
    started = time.monotonic()
    found = list(doctor.examine("local", None, tmp_path))
    assert time.monotonic() - started < 2
    assert [finding.what for finding in found] == ["late", "broken", *(f"slow {n}" for n in range(10))]
    assert (found[0].state, found[0].found) == ("unknown", "no answer within 0.5 s")
    assert found[1].found == "could not be looked at: first line"


def test_a_network_that_swallows_everything_is_told_in_seconds(tmp_path: Path):
    with socket.socket() as deaf:  # accepts connections, and never answers
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(50)
        nowhere = f"localhost:{deaf.getsockname()[1]}"
        variables = {
            f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": f"http://{nowhere}" for api in ("STORAGE", "SERVICEUSAGE")
        }
        key = service_account(tmp_path, f"http://{nowhere}/token")
        variables |= {"GOOGLE_APPLICATION_CREDENTIALS": str(key), "GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED": "false"}
        target = (
            "{project: elbo-prod, location: europe-west4, root: 'gs://data/vae', "
            f"image: '{nowhere}/vae/cpu:1', tracking_uri: 'http://{nowhere}'}}"
        )
        command = [sys.executable, "-m", "pipelines", "doctor", "--target", "vertex", "--experiment", "digits"]
        started = time.monotonic()
        done = subprocess.run(
            [*command, "--set", f"targets.vertex={target}"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
        )
        assert time.monotonic() - started < 15
    assert done.returncode == 1
    assert f"✗ MLflow http://{nowhere}: cannot be reached from here: no answer in time" in done.stdout
    assert "bucket" in done.stdout
    assert done.stderr == ""


def told(*words: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *words])


def test_a_wrong_request_starts_nothing():
    for words, said in (
        (["--target", "vertex"], "say with --experiment EXPERIMENT whose targets.vertex is meant"),
        (["--target", "vertex", "--experiment", "digits"], "targets.vertex: missing"),
        (["--target", "kubeflow", "--experiment", "digits"], "targets.kubeflow: missing"),
        (["--target", "moon", "--experiment", "digits"], "unknown target; allowed: local, kubeflow, vertex"),
        (["--env", "prod"], "say with --experiment which"),
    ):
        done = told(*words)
        assert (done.exit_code, done.stdout) == (2, ""), words
        assert said in done.stderr
