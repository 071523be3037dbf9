"""`elboflow runs retry` on the platforms: what has finished is taken over, the rest is run again.

Kubeflow retries the same run. Vertex AI repeats it as a new one.
"""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from elboflow.testing.platforms.wire import wait_for
from tests.pipelines.remote import Platform, newest_version, running

RETRY = {"vertex": r"/v1beta1/.*/pipelineJobs", "kubeflow": "/apis/v2beta1/runs/.*:retry"}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in RETRY])
def platform(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """A platform that rehearses, left without runs of this test at work."""
    platform: Platform = request.getfixturevalue(request.param)
    rehearse(platform)
    before = set(platform.server.runs)
    yield platform
    for id in set(platform.server.runs) - before:
        platform.server.runs[id].execution.close()


def rehearse(platform: Platform) -> None:
    platform.server.faults.clear()
    platform.server.faults.rehearsed = True
    platform.server.faults.answers["decide"] = "run"


def failed(platform: Platform, step: int, *arguments: str) -> str:
    """Runs the digits, which fail in a step, mends that, and returns the run."""
    platform.server.faults.break_step(step, "fails")
    done = platform.run(*arguments)
    assert done.code == 1, done.err
    rehearse(platform)
    id: str = done.result["run"]
    return id


def executed(platform: Platform, run: str) -> list[str]:
    """Returns the steps that were executed in the latest try of a run."""
    steps = platform.server.runs[run].execution.steps.values()
    return [step.name for step in steps if step.kind == "step" and step.attempts]


def test_a_run_is_repeated_from_the_step_that_failed(platform: Platform):
    id = failed(platform, 4)
    done = platform.ask("runs", "retry", id, "--json")
    assert done.code == 0, done.err
    run = done.result["run"]
    assert (done.result["status"], run == id) == ("succeeded", platform.name == "kubeflow")
    states = {step["name"]: step["status"] for step in done.result["steps"]}
    taken_over = "succeeded" if platform.name == "kubeflow" else "skipped"
    assert (states["preprocess"], states["train"]) == (taken_over, taken_over)
    assert (states["evaluate"], states["register"]) == ("succeeded", "succeeded")
    # Kubeflow takes the exit task for one that has succeeded. On Vertex AI, the new run begins and ends in MLflow.
    around = [] if platform.name == "kubeflow" else ["decide", "finish"]
    assert set(executed(platform, run)) == {"evaluate", "register", *around}
    assert platform.ask("status", run, "--json").result["status"] == "succeeded"


def test_a_run_that_fails_again_is_repeated_again_with_what_all_tries_made(platform: Platform):
    id = failed(platform, 3)
    platform.server.faults.break_step(2 if platform.name == "kubeflow" else 3, "fails")
    again = platform.ask("runs", "retry", id, "--json")
    assert again.code == 1
    assert "failed in evaluate" in again.said
    rehearse(platform)
    done = platform.ask("runs", "retry", again.result["run"], "--json")
    assert done.code == 0, done.err
    assert set(executed(platform, done.result["run"])) - {"decide", "finish"} == {"evaluate", "register"}


def test_a_cancelled_run_is_repeated_from_the_step_that_was_at_work(platform: Platform):
    platform.server.faults.break_step(3, "hangs")
    id = platform.run("--no-wait").result["run"]
    wait_for(lambda: "train" in [step.name for step in platform.server.runs[id].execution.steps.values()])
    assert platform.ask("cancel", id).code == 0
    rehearse(platform)
    done = platform.ask("runs", "retry", id, "--json")
    assert done.code == 0, done.err
    assert {"train", "evaluate", "register", "finish"} <= set(executed(platform, done.result["run"]))
    assert "preprocess" not in executed(platform, done.result["run"])


def test_a_repeated_run_that_is_not_waited_for_is_named_with_how_to_follow_it(platform: Platform):
    id = failed(platform, 3)
    done = platform.ask("runs", "retry", id[:-1] if platform.name == "kubeflow" else "latest", "--no-wait")
    assert done.code == 0, done.err
    run = done.out.strip()
    assert f"runs attach {run} --target {platform.name}" in done.said
    assert (f"{run} repeats {id} from the step that failed" in done.err) == (platform.name == "vertex")
    assert platform.ask("runs", "attach", run).code == 0


def test_what_cannot_be_repeated_is_a_wrong_request_that_says_why_and_starts_nothing(platform: Platform):
    succeeded = platform.run().result["run"]
    platform.server.faults.answers["decide"] = "skip"
    skipped = platform.run("--if-changed").result["run"]
    rehearse(platform)
    platform.server.faults.break_step(2, "hangs")
    at_work = platform.run("--no-wait").result["run"]
    wait_for(lambda: running(platform.server) == [at_work])
    before = set(platform.server.runs)
    told = {
        succeeded: f"the run {succeeded} succeeded; a new one: elboflow run digits --target {platform.name}",
        skipped: f"the run {skipped} was skipped; a new one: elboflow run digits --target {platform.name}",
        at_work: f"the run {at_work} is at work; `elboflow cancel {at_work} --target {platform.name}` ends it",
        "absent": "absent (404)",
    }
    for run, words in told.items():
        done = platform.ask("runs", "retry", run)
        assert (done.code, done.out) == (2, ""), done.err
        assert words in done.said
    assert platform.server.asked("POST", RETRY[platform.name]) == []
    assert set(platform.server.runs) == before


@pytest.mark.parametrize(("status", "code", "words"), [(403, 2, "forbids the retry of the run"), (500, 1, "try again")])
def test_a_platform_that_refuses_the_retry_says_why_and_the_run_stays_as_it_was(
    platform: Platform, status: int, code: int, words: str
):
    id = failed(platform, 3)
    before = set(platform.server.runs)
    platform.server.faults.refuse("POST", RETRY[platform.name], status, "injected", times=None)
    done = platform.ask("runs", "retry", id)
    assert done.code == code, done.err
    assert f"({status}): injected" in done.said
    assert words in done.said
    assert set(platform.server.runs) == before
    assert platform.ask("status", id, "--json").result["status"] == "failed"


def test_a_retry_whose_answer_is_lost_is_made_once(platform: Platform):
    id = failed(platform, 3)
    platform.server.faults.step_seconds = 0.3
    before = set(platform.server.runs)
    fault = platform.server.faults.reset("POST", RETRY[platform.name])
    done = platform.ask("runs", "retry", id, "--json")
    assert (done.code, fault.met) == (0, 1), done.err
    assert set(platform.server.runs) - before == ({done.result["run"]} if platform.name == "vertex" else set())


@pytest.mark.xdist_group("vertex")
def test_on_vertex_the_new_run_is_the_same_job_with_another_id(vertex: Platform):
    rehearse(vertex)
    account = "trainer@project.iam.gserviceaccount.com"
    key = "projects/project/locations/europe-west4/keyRings/ring/cryptoKeys/key"
    network = "projects/1/global/networks/net"
    vertex.target = (
        f"{vertex.target[:-1]}, service_account: {account}, encryption_key: {key}, network: {network}, "
        "labels: {team: vision}}"
    )
    id = failed(vertex, 3, "--if-changed")
    done = vertex.ask("runs", "retry", id, "--json")
    assert done.code == 0, done.err

    def same(run: str) -> dict[str, Any]:
        job = type(vertex.server.runs[run].message)()
        job.CopyFrom(vertex.server.runs[run].message)
        job.labels.pop("vertex-ai-pipelines-run-billing-id")
        job.name = ""
        return job

    assert same(done.result["run"]) == same(id)
    assert (same(id).service_account, same(id).encryption_spec.kms_key_name, same(id).network) == (
        account, key, network
    )  # fmt: skip
    assert same(id).labels["team"] == "vision"


def mlflow_runs(mlflow: str, *runs: str) -> list[Any]:
    """Returns the MLflow runs of pipeline runs, and of trainings that no pipeline run has taken over."""
    query = {"experiment_ids": ["0"], "max_results": 1000}
    with urllib.request.urlopen(f"{mlflow}/api/2.0/mlflow/experiments/get-by-name?experiment_name=digits") as answer:
        query["experiment_ids"] = [json.load(answer)["experiment"]["experiment_id"]]
    request = urllib.request.Request(
        f"{mlflow}/api/2.0/mlflow/runs/search", json.dumps(query).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        found = json.load(answer)["runs"]
    return [run["info"] for run in found if run["info"]["run_name"] in (*runs, "digits training")]


@pytest.mark.slow
@pytest.mark.xdist_group("kubeflow")
def test_a_training_that_kubeflow_retries_ends_in_the_one_mlflow_run_of_its_run(kubeflow: Platform, mlflow_server: str):
    kubeflow.server.faults.break_step(3, "fails")
    first = kubeflow.run()
    assert first.code == 1, first.err
    (name,) = [kubeflow.server.runs[first.result["run"]].body["display_name"]]
    (recorded,) = mlflow_runs(mlflow_server, name)
    assert recorded["status"] == "FAILED"
    kubeflow.server.faults.clear()
    done = kubeflow.ask("runs", "retry", first.result["run"], "--json")
    assert done.code == 0, done.err
    assert executed(kubeflow, first.result["run"]) == ["train", "evaluate", "register"]
    (recorded,) = mlflow_runs(mlflow_server, name)
    assert recorded["status"] == "FINISHED"
    assert newest_version(mlflow_server)["run_id"] == recorded["run_id"]


@pytest.mark.slow
@pytest.mark.xdist_group("vertex")
def test_a_model_that_an_earlier_run_on_vertex_trained_is_registered_by_the_run_that_repeats_it(
    vertex: Platform, mlflow_server: str
):
    vertex.server.faults.break_step(4, "fails")
    first = vertex.run()
    assert first.code == 1, first.err
    vertex.server.faults.clear()
    done = vertex.ask("runs", "retry", first.result["run"], "--json")
    assert done.code == 0, done.err
    assert executed(vertex, done.result["run"]) == ["decide", "evaluate", "register", "finish"]
    states = {
        run["run_name"]: run["status"] for run in mlflow_runs(mlflow_server, first.result["run"], done.result["run"])
    }
    assert states == {first.result["run"]: "FAILED", done.result["run"]: "FINISHED"}
    version = newest_version(mlflow_server)
    assert done.result["run"] in {tag["value"] for tag in version["tags"]}
