"""`elboflow sweep --target …`: submitted to a platform that executes it, loop and all, and followed to its end."""

import json
import urllib.request
from typing import Any

import pytest

from tests.pipelines.remote import Done, Platform, newest_version

OVER = "training.batch_size=5000,256"
"""A batch that the train split cannot fill, and one that it can."""


def ask(mlflow: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(f"{mlflow}/api/2.0/mlflow/{path}", headers={"Content-Type": "application/json"})
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(request, data, timeout=30) as answer:
        return json.load(answer)


def swept(platform: Platform) -> Done:
    words = platform.run_words("--over", OVER, "--parallel", "2", "--json")
    words[words.index("run")] = "sweep"
    settings = words.index("training.batch_size=256")
    del words[settings - 1 : settings + 1]
    return platform.do(words)


def check(platform: Platform, mlflow: str) -> dict[str, Any]:
    """Sweeps, and returns the sweep's run in MLflow."""
    done = swept(platform)
    run = list(platform.server.runs.values())[-1]
    logs = {
        step.name: step.log.read_text(encoding="utf-8")[-3000:]
        for step in run.execution.steps.values()
        if step.log.exists()
    }
    assert done.code == 0, (done.err, logs)
    assert done.result["status"] == "succeeded"
    version = newest_version(mlflow)
    parent = ask(mlflow, f"runs/get?run_id={version['run_id']}")["run"]
    assert parent["info"]["status"] == "FINISHED"
    query = {
        "experiment_ids": [parent["info"]["experiment_id"]],
        "filter": f"tags.`mlflow.parentRunId` = '{version['run_id']}'",
    }
    children = ask(mlflow, "runs/search", query)["runs"]
    states = {child["data"]["params"][0]["value"]: child["info"]["status"] for child in children}
    assert states == {"256": "FINISHED", "5000": "FAILED"}
    assert "Traceback" not in done.err
    found: dict[str, Any] = parent
    return found


@pytest.mark.slow
@pytest.mark.xdist_group("vertex")
def test_on_vertex_each_trial_is_a_custom_job_and_the_best_is_registered(vertex: Platform, mlflow_server: str):
    vertex.target = f"{vertex.target[:-1]}, steps: {{train: {{machine: n1-standard-8}}}}}}"
    before = len(vertex.server.custom_jobs)
    check(vertex, mlflow_server)
    assert len(vertex.server.custom_jobs) - before == 2


@pytest.mark.slow
@pytest.mark.xdist_group("kubeflow")
def test_on_kubeflow_each_trial_is_a_step_the_best_is_registered_and_all_is_below_kubeflow_s_own_run_in_mlflow(
    kubeflow: Platform, mlflow_server: str
):
    kubeflow.server.mlflow = mlflow_server
    try:
        ours = check(kubeflow, mlflow_server)
    finally:
        kubeflow.server.mlflow = ""
    run = list(kubeflow.server.runs.values())[-1]
    tags = {tag["key"]: tag["value"] for tag in ours["data"]["tags"]}
    assert tags["mlflow.parentRunId"] == run.execution.run.mlflow["run_id"]
    assert ours["info"]["experiment_id"] == run.execution.run.mlflow["experiment_id"]
