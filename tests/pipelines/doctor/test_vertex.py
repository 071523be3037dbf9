"""What a doctor finds on Vertex AI, against a server that speaks Google's APIs."""

import json
from pathlib import Path

import pytest

from tests.pipelines.doctor.asked import examined, vertex
from tests.pipelines.doctor.cloud import Cloud


def test_a_project_that_is_well_is_well(cloud: Cloud):
    cloud.limits = {"custom_model_training_nvidia_t4_gpus": {"europe-west4": 1, None: 0}}
    code, found = examined("vertex", *vertex(cloud, ", steps: {train: {accelerator: t4}}"))
    assert code == 0, found
    assert "robot@" in found["credentials"].found
    assert found["APIs"].found == "enabled: aiplatform, logging, storage"
    assert found["bucket gs://data"].state == "ok"
    assert found[f"image {cloud.address}/vae/cpu:1"].found == "is there: sha256:0123"
    assert found["quota for train: 1 t4 in europe-west4"].state == "ok"
    assert found[f"MLflow {cloud.url}/mlflow"].state == "ok"


def test_everything_that_is_ill_says_how_to_mend_it(cloud: Cloud):
    cloud.enabled, cloud.allowed, cloud.images = {"storage"}, {"storage.objects.get"}, set()
    cloud.limits = {"custom_model_training_nvidia_t4_gpus": {None: 1}}
    cloud.mlflow = "1.30.0"
    more = (
        ", steps: {train: {accelerator: {kind: t4, count: 2}}}, service_account: steps@p, "
        "runner: dataflow, repository: 'https://europe-west4-kfp.pkg.dev/p/r', "
        "secrets: {A: projects/p/secrets/a/versions/1}"
    )
    code, found = examined("vertex", *vertex(cloud, more))
    problems = {what: finding.remedy for what, finding in found.items() if finding.state == "problem"}
    assert code == 1
    for api in ("aiplatform", "artifactregistry", "compute", "dataflow", "logging", "secretmanager"):
        assert (
            problems[f"API {api}.googleapis.com"] == f"gcloud services enable {api}.googleapis.com --project elbo-prod"
        )
    assert "API storage.googleapis.com" not in found
    assert (
        "lack storage.objects.create, storage.objects.delete, storage.objects.list" in found["bucket gs://data"].found
    )
    assert problems["bucket gs://data"].endswith(
        "--role roles/storage.objectUser --member serviceAccount:robot@elbo-test.iam.gserviceaccount.com"
    )
    assert "infra/images/build.sh" in problems[f"image {cloud.address}/vae/cpu:1"]
    assert found["quota for train: 2 t4 in europe-west4"].found == "custom_model_training_nvidia_t4_gpus is 1"
    assert problems["quota for train: 2 t4 in europe-west4"] == (
        "ask for 2 or more: https://console.cloud.google.com/iam-admin/quotas?project=elbo-prod"
    )
    assert found[f"MLflow {cloud.url}/mlflow"].found.startswith("is 1.30.0; the client here is ")


def test_spot_machines_need_the_quota_of_preemptible_ones(cloud: Cloud):
    cloud.limits = {
        "custom_model_training_nvidia_t4_gpus": {None: 8},
        "custom_model_training_preemptible_nvidia_t4_gpus": {"europe-west4": 0},
    }
    code, found = examined("vertex", *vertex(cloud, ", steps: {train: {accelerator: t4, provisioning: spot}}"))
    assert code == 1
    assert (
        found["quota for train: 1 t4 in europe-west4"].found == "custom_model_training_preemptible_nvidia_t4_gpus is 0"
    )
    cloud.limits["custom_model_training_preemptible_nvidia_t4_gpus"] = {None: -1}
    _, found = examined("vertex", *vertex(cloud, ", steps: {train: {accelerator: t4, provisioning: spot}}"))
    assert found["quota for train: 1 t4 in europe-west4"].found == "unlimited"


def test_what_cannot_be_told_is_no_illness(cloud: Cloud):
    cloud.faults.refuse("GET", "/v1/projects/.*", 403, "Permission denied on serviceusage", times=None)
    code, found = examined("vertex", *vertex(cloud, ", steps: {train: {accelerator: t4}}"))
    assert code == 0
    assert found["APIs"].state == "unknown"
    assert found["APIs"].found == "serviceusage answers 403: Permission denied on serviceusage"
    assert found["quota for train: 1 t4 in europe-west4"].state == "unknown"


def test_a_bucket_that_is_not_there_comes_with_the_command_that_makes_it(cloud: Cloud):
    code, found = examined("vertex", *vertex(cloud, bucket="absent"))
    assert code == 1
    assert found["bucket gs://absent"].remedy == (
        "gcloud storage buckets create gs://absent --location europe-west4 --project elbo-prod"
    )


def test_absent_credentials_are_told_once_and_hold_up_nothing(cloud: Cloud, tmp_path: Path, monkeypatch):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    code, found = examined("vertex", *vertex(cloud))
    assert code == 1
    assert found["credentials"].remedy == "gcloud auth application-default login"
    assert [what for what, finding in found.items() if finding.state == "problem"] == ["credentials"]
    assert found["bucket gs://data"].found == "there are no credentials to ask with"
    assert found[f"image {cloud.address}/vae/cpu:1"].state == "ok"


def test_credentials_that_google_refuses_are_told(cloud: Cloud):
    cloud.faults.refuse("POST", "/token", 400, "invalid_grant", times=None)
    code, found = examined("vertex", *vertex(cloud))
    assert code == 1
    assert found["credentials"].state == "problem"
    assert found["credentials"].remedy == "renew them: gcloud auth application-default login"


@pytest.mark.parametrize(
    ("account", "member"), [("me@example.org", "user:me@example.org"), ("", '"user:$(gcloud config get account)"')]
)
def test_a_person_without_access_is_named_as_one(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: str, member: str
):
    cloud.allowed = {"storage.objects.get"}
    own = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", "account": account}
    (tmp_path / "own.json").write_text(json.dumps(own), encoding="utf-8")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "own.json"))
    monkeypatch.setattr("google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{cloud.url}/token")
    _, found = examined("vertex", *vertex(cloud, ", service_account: steps@p"))
    assert found["bucket gs://data"].remedy == (
        f"gcloud storage buckets add-iam-policy-binding gs://data --role roles/storage.objectUser --member {member}"
    )
    assert found["credentials"].found.endswith(account or "a person's, or nobody's")
