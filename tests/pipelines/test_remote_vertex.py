"""`elboflow run --target vertex`: submitted to a Vertex AI that executes it, and followed to its end."""

import json
import urllib.request
from typing import Any

import pytest

from tests.pipelines.remote import Platform, newest_version

pytestmark = pytest.mark.xdist_group("vertex")


def ask(mlflow: str, path: str) -> Any:
    with urllib.request.urlopen(f"{mlflow}/api/2.0/mlflow/{path}", timeout=30) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_a_run_on_vertex_trains_in_a_custom_job_and_ends_with_a_registered_model(vertex: Platform, mlflow_server: str):
    vertex.target = f"{vertex.target[:-1]}, steps: {{train: {{machine: n1-standard-8, provisioning: spot}}}}}}"
    done = vertex.do_apart(vertex.run_words("--json"), 600)
    assert vertex.server.runs, done.err
    run = list(vertex.server.runs.values())[-1]
    logs = {
        step.name: step.log.read_text(encoding="utf-8")[-3000:]
        for step in run.execution.steps.values()
        if step.log.exists()
    }
    assert done.code == 0, (done.err, logs)
    result = done.result
    assert (result["run"], result["status"], result["target"]) == (run.id, "succeeded", "vertex")
    assert [step["name"] for step in result["steps"]] == [
        "decide",
        "preprocess",
        "train",
        "evaluate",
        "register",
        "finish",
    ]
    assert {step["status"] for step in result["steps"]} == {"succeeded"}
    (trained,) = (job for job in vertex.server.custom_jobs.values() if job.owner == run.id)
    assert trained.state == "JOB_STATE_SUCCEEDED"
    assert trained.message.job_spec.worker_pool_specs[0].machine_spec.machine_type == "n1-standard-8"
    version = newest_version(mlflow_server)
    registered = ask(mlflow_server, f"runs/get?run_id={version['run_id']}")["run"]
    assert registered["info"]["run_name"] == run.id
    assert registered["info"]["status"] == "FINISHED"
    assert done.err.splitlines()[-1].endswith(f"/#/models/digits-vae/versions/{version['version']}")
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_machines_that_train_together_on_vertex_make_one_model(vertex: Platform, mlflow_server: str):
    vertex.target = f"{vertex.target[:-1]}, steps: {{train: {{accelerator: {{kind: l4, count: 2}}, workers: 2}}}}}}"
    done = vertex.do_apart(vertex.run_words("--json"), 900)
    assert done.code == 0, (
        done.err,
        [job.log.read_text(encoding="utf-8") for job in vertex.server.custom_jobs.values()],
    )
    assert "training.parallel is data: targets.vertex.steps.train has 2 machines with 1 chip each" in done.err
    trained = list(vertex.server.custom_jobs.values())[-1]
    assert [pool.replica_count for pool in trained.message.job_spec.worker_pool_specs] == [1, 1]
    log = trained.log.read_text(encoding="utf-8")
    assert log.count("1 × cpu of each of 2 machines") == 2
    assert log.count("; best validation ELBO") == 2
    assert done.result["status"] == "succeeded"
