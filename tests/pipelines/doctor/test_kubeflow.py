"""What a doctor finds on Kubeflow: whether its API answers, and takes the credentials."""

import json
from pathlib import Path

import pytest

from tests.pipelines.doctor.asked import examined, kubeflow
from tests.pipelines.doctor.cloud import Cloud


def test_kubeflow_answers_the_caller_with_the_token(cloud: Cloud, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("KF_TOKEN", raising=False)
    what = f"Kubeflow {cloud.url}"
    code, found = examined("kubeflow", *kubeflow(cloud))
    assert code == 1
    assert found["credentials"].found == "targets.kubeflow.credentials: $KF_TOKEN is empty"
    assert found["credentials"].remedy == "put a current token into $KF_TOKEN"
    assert what not in found  # there is nothing to ask it with
    monkeypatch.setenv("KF_TOKEN", "of-nobody")
    code, found = examined("kubeflow", *kubeflow(cloud))
    assert (code, found[what].found) == (1, f"Kubeflow at {cloud.url} asks for a login (302)")
    monkeypatch.setenv("KF_TOKEN", "of-kubeflow")
    code, found = examined("kubeflow", *kubeflow(cloud))
    assert (code, found[what].state) == (0, "ok")
    code, found = examined("kubeflow", *kubeflow(cloud, ", namespace: others"))
    assert (code, "forbids the namespace others (403)" in found[what].found) == (1, True)
    cloud.namespaces = None
    assert examined("kubeflow", *kubeflow(cloud))[0] == 0
    assert "of-kubeflow" not in str(found)


@pytest.mark.parametrize(
    ("version", "state", "told"),
    [
        ("2.15.2", "ok", "answers, version 2.15.2; runs in kubeflow can be listed"),
        ("2.14.0", "ok", "answers, version 2.14.0"),
        ("2.5.0", "problem", "is version 2.5.0; upgrade Kubeflow Pipelines to 2.14.0 or newer"),
        (None, "unknown", "make sure that it is 2.14.0 or newer"),
        ("unknown", "unknown", "does not say its version"),
        ("my-build", "unknown", "does not say its version"),
    ],
)
def test_a_kubeflow_that_cannot_run_the_exit_task_is_told_by_its_version(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, version: str | None, state: str, told: str
):
    monkeypatch.setenv("KF_TOKEN", "of-kubeflow")
    cloud.kubeflow = version
    found = examined("kubeflow", *kubeflow(cloud))[1][f"Kubeflow {cloud.url}"]
    assert (found.state, told in f"{found.found}; {found.remedy}") == (state, True), found


def test_without_a_host_kubeflow_needs_a_kubeconfig(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    words = ["--set", f"targets.kubeflow={{image: '{cloud.address}/vae/cpu:1', tracking_uri: '{cloud.url}/mlflow'}}"]
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    code, found = examined("kubeflow", *words)
    assert code == 1
    assert "there is no kubeconfig" in found["Kubeflow"].remedy + found["Kubeflow"].found


def kubeconfig(server: str, token: str) -> str:
    """A kubeconfig, which may be JSON: a cluster's API server, and a token for it."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": token}}],
        }
    )


def test_kubeflow_is_asked_through_a_kubeconfig(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    words = ["--set", f"targets.kubeflow={{image: '{cloud.address}/vae/cpu:1', tracking_uri: '{cloud.url}/mlflow'}}"]
    (tmp_path / "config").write_text(kubeconfig(cloud.url, "of-kubeflow"), encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    # Its client reads the variable when it is imported, which another test may have done.
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    code, found = examined("kubeflow", *words)
    assert (code, found["Kubeflow"].found) == (0, "answers, version 2.15.2; runs in kubeflow can be listed")
    (tmp_path / "config").write_text(kubeconfig(cloud.url, "of-nobody"), encoding="utf-8")
    code, found = examined("kubeflow", *words)
    assert (code, found["Kubeflow"].state) == (1, "problem")
    assert found["Kubeflow"].remedy == "choose targets.kubeflow.credentials: token, cookie, iap or in_cluster"


def test_kubeflow_is_asked_with_the_token_of_the_pod(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def in_cluster(more: str = "") -> list[str]:
        return [word.replace("{kind: token, variable: KF_TOKEN}", "in_cluster") for word in kubeflow(cloud, more)]

    what = f"Kubeflow {cloud.url}"
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    _, found = examined("kubeflow", *in_cluster())
    assert (found["credentials"].state, what in found) == ("problem", False)
    (tmp_path / "token").write_text("of-kubeflow", encoding="utf-8")
    code, found = examined("kubeflow", *in_cluster())
    assert (code, found[what].state) == (0, "ok")
    code, found = examined("kubeflow", *in_cluster(", namespace: others"))
    assert (code, found[what].remedy) == (1, "the caller needs to be a contributor of the namespace others")
