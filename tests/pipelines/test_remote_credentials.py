"""Who asks a platform: service accounts by their keys, as others, through a proxy, and in a pod."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from elboflow.testing.platforms.google_identity import GoogleIdentity
from tests.pipelines.remote import Platform

TRAINER = "trainer@project.iam.gserviceaccount.com"


@pytest.fixture
def as_trainer(vertex: Platform, google_identity: GoogleIdentity) -> Iterator[Platform]:
    """Vertex AI, asked as an account that is the only one it admits."""
    google_identity.requests.clear()
    vertex.environment["CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS"] = google_identity.url
    vertex.target = f"{vertex.target[:-1]}, credentials: {{kind: impersonation, service_account: {TRAINER}}}}}"
    vertex.server.members = {TRAINER}
    yield vertex
    google_identity.may_act_as.clear()
    vertex.server.members = {"steps@project.iam.gserviceaccount.com"}


@pytest.fixture
def guarded(kubeflow: Platform) -> Iterator[Platform]:
    """Kubeflow that wants a token."""
    yield kubeflow
    kubeflow.server.token = None


@pytest.mark.xdist_group("vertex")
def test_vertex_is_asked_as_the_service_account_whose_key_there_is(vertex: Platform, tmp_path: Path):
    assert vertex.ask("runs", "list").code == 2  # the workspace does not know the place yet
    vertex.server.faults.rehearsed = True
    done = vertex.run("--no-wait")
    assert done.code == 0, done.err
    assert vertex.ask("runs", "list").code == 0
    bearers = {request.headers.get("authorization", "") for request in vertex.server.requests}
    assert all(bearer.startswith("Bearer ") for bearer in bearers)
    vertex.server.members = set()
    try:
        refused = vertex.ask("runs", "list")
    finally:
        vertex.server.members = {"steps@project.iam.gserviceaccount.com"}
    assert (refused.code, "403" in refused.said) == (2, True)
    vertex.environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(tmp_path / "absent.json")
    nobody = vertex.ask("runs", "list")
    assert nobody.code == 2
    assert "no Application Default Credentials" in nobody.said


@pytest.mark.xdist_group("vertex")
def test_vertex_is_asked_as_the_account_that_one_may_act_as(as_trainer: Platform, google_identity: GoogleIdentity):
    as_trainer.server.faults.rehearsed = True
    refused = as_trainer.run("--no-wait")
    assert (refused.code, len(refused.err.splitlines())) == (2, 1), refused.err
    assert f"roles/iam.serviceAccountTokenCreator on {TRAINER}" in refused.said
    google_identity.may_act_as.add(TRAINER)
    done = as_trainer.run("--no-wait")
    assert done.code == 0, done.err
    asked = [request.headers["authorization"] for request in as_trainer.server.requests if request.method == "POST"]
    assert asked[-1] == f"Bearer acting-as {TRAINER}"
    assert google_identity.asked("POST", f"/v1/projects/-/serviceAccounts/{TRAINER}:generateAccessToken")


@pytest.mark.xdist_group("kubeflow")
def test_kubeflow_behind_a_proxy_is_asked_with_an_identity_token_for_it(
    guarded: Platform, google_identity: GoogleIdentity
):
    guarded.server.faults.rehearsed = True
    guarded.server.token = google_identity.identity("proxy.apps.example")
    guarded.environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(google_identity.file)
    guarded.target = f"{guarded.target[:-1]}, credentials: {{kind: iap, client_id: other.apps.example}}}}"
    refused = guarded.run("--no-wait")
    assert (refused.code, len(refused.err.splitlines())) == (2, 1), refused.err
    assert "401" in refused.said
    assert "the proxy of other.apps.example" in refused.said
    guarded.target = guarded.target.replace("other.apps.example", "proxy.apps.example")
    done = guarded.run("--no-wait")
    assert done.code == 0, done.err


@pytest.mark.xdist_group("kubeflow")
def test_kubeflow_is_asked_with_the_projected_token_of_a_pod(guarded: Platform, tmp_path: Path):
    guarded.server.faults.rehearsed = True
    guarded.server.token = "of-the-pod"
    guarded.target = f"{guarded.target[:-1]}, credentials: in_cluster}}"
    guarded.environment["KF_PIPELINES_SA_TOKEN_PATH"] = str(tmp_path / "token")
    absent = guarded.run("--no-wait")
    assert (absent.code, str(tmp_path / "token") in absent.said) == (2, True), absent.err
    (tmp_path / "token").write_text("of-the-pod", encoding="utf-8")
    done = guarded.run("--no-wait")
    assert done.code == 0, done.err
