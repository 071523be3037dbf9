"""`elboflow run --target kubeflow`: submitted to a Kubeflow that executes it, and followed to its end."""

import json
import urllib.request
from typing import Any

import pytest

from tests.pipelines.remote import Platform, newest_version

pytestmark = pytest.mark.xdist_group("kubeflow")


def ask(mlflow: str, path: str) -> Any:
    with urllib.request.urlopen(f"{mlflow}/api/2.0/mlflow/{path}", timeout=30) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_a_run_on_kubeflow_ends_with_a_registered_model_and_exit_code_0(kubeflow: Platform, mlflow_server: str):
    done = kubeflow.do_apart(kubeflow.run_words("--json"), 600)
    assert kubeflow.server.runs, done.err
    run = list(kubeflow.server.runs.values())[-1]
    logs = {
        step.name: step.log.read_text(encoding="utf-8")[-3000:]
        for step in run.execution.steps.values()
        if step.log.exists()
    }
    assert done.code == 0, (done.err, logs)
    result = done.result
    assert (result["run"], result["status"], result["target"]) == (run.id, "succeeded", "kubeflow")
    assert [step["name"] for step in result["steps"]] == [
        "decide",
        "preprocess",
        "train",
        "evaluate",
        "register",
        "finish",
    ]
    assert {step["status"] for step in result["steps"]} == {"succeeded"}
    version = newest_version(mlflow_server)
    registered = ask(mlflow_server, f"runs/get?run_id={version['run_id']}")["run"]
    assert registered["info"]["run_name"] == run.body["display_name"]
    assert registered["info"]["status"] == "FINISHED"
    assert done.err.splitlines()[-1].endswith(f"/#/models/digits-vae/versions/{version['version']}")
    assert "Traceback" not in done.err


def test_a_secret_of_kubernetes_reaches_the_steps_and_nothing_else(kubeflow: Platform):
    kubeflow.server.faults.rehearsed = True
    kubeflow.server.secrets["mlflow"] = {"token": "planted-4711"}
    kubeflow.target = f"{kubeflow.target[:-1]}, secrets: {{MLFLOW_TRACKING_TOKEN: {{name: mlflow, key: token}}}}}}"
    done = kubeflow.run()
    assert done.code == 0, done.err
    submitted = kubeflow.server.runs[done.result["run"]]
    assert submitted.execution.run.secrets["exec-train"] == {"MLFLOW_TRACKING_TOKEN": "planted-4711"}
    assert "planted-4711" not in json.dumps(submitted.body) + done.out + done.err


def test_a_cookie_or_token_that_is_refused_is_one_line_that_says_how_to_renew_it(kubeflow: Platform):
    server = kubeflow.server
    server.faults.rehearsed = True
    try:
        server.token = "right"
        kubeflow.target = f"{kubeflow.target[:-1]}, credentials: token}}"
        refused = kubeflow.run("--no-wait")
        assert refused.code == 2
        assert "KF_PIPELINES_TOKEN" in refused.said
        kubeflow.environment["KF_PIPELINES_TOKEN"] = "wrong"
        refused = kubeflow.run("--no-wait")
        assert (refused.code, len(refused.err.splitlines())) == (2, 1)
        assert "401" in refused.said
        assert "$KF_PIPELINES_TOKEN" in refused.said
        kubeflow.environment["KF_PIPELINES_TOKEN"] = "right"
        assert kubeflow.run("--no-wait").code == 0
        server.token, server.cookie = None, "authservice_session=abc"
        kubeflow.target = kubeflow.target.replace("credentials: token", "credentials: cookie")
        kubeflow.environment["KF_PIPELINES_COOKIE"] = "authservice_session=old"
        refused = kubeflow.run("--no-wait")
        assert (refused.code, len(refused.err.splitlines())) == (2, 1)
        assert "$KF_PIPELINES_COOKIE" in refused.said
        kubeflow.environment["KF_PIPELINES_COOKIE"] = "authservice_session=abc"
        assert kubeflow.run("--no-wait").code == 0
    finally:
        server.token = server.cookie = None
