"""The Kubeflow server, asked by the real client."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from elboflow.testing.platforms.wire import wait_for

if TYPE_CHECKING:
    from elboflow.testing.platforms.kubeflow import KubeflowServer

pytestmark = pytest.mark.xdist_group("kubeflow")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["KubeflowServer"]:
    from elboflow.testing.platforms.kubeflow import KubeflowServer

    with KubeflowServer(tmp_path_factory.mktemp("kubeflow") / "kubeflow") as server:
        yield server


@pytest.fixture
def client(server: "KubeflowServer") -> Any:
    from kfp import Client

    server.faults.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Client(host=server.url)


@pytest.fixture
def package(tmp_path: Path) -> str:
    from tests.servers import trivial

    path = tmp_path / "pipeline.yaml"
    path.write_text(trivial.compiled(), encoding="utf-8")
    return str(path)


def run(client: Any, package: str, name: str, root: str = "minio://mlpipeline/v2", **arguments: Any) -> Any:
    experiment = client.create_experiment("greeting").experiment_id
    return client.run_pipeline(experiment, name, package, params=arguments, pipeline_root=root)


def test_a_submitted_run_executes_its_steps_and_serves_their_logs(server: "KubeflowServer", client: Any, package: str):
    import requests

    id = run(client, package, "one", who="you").run_id
    wait_for(lambda: server.runs[id].execution.ended is not None)
    ended = client.get_run(id)
    assert ended.state == "SUCCEEDED"
    tasks = {task.display_name: task for task in ended.run_details.task_details}
    assert {"write", "read", "tell", "executor", "write-driver"} <= set(tasks)
    pod = tasks["read"].child_tasks[0].pod_name
    log = requests.get(f"{server.url}/apis/v1alpha1/runs/{id}/nodes/{pod}/log")
    assert "hello you from one" in log.text.splitlines()
    assert requests.get(f"{server.url}/apis/v1alpha1/runs/{id}/nodes/absent/log").status_code == 500


def test_a_run_fails_with_its_step_and_is_cancelled_with_its_processes(
    server: "KubeflowServer", client: Any, package: str
):
    from kfp_server_api import ApiException

    failed = run(client, package, "two", who="nobody").run_id
    server.faults.break_step(1, "hangs")
    hung = run(client, package, "three").run_id
    wait_for(lambda: any(step.kind == "step" for step in server.runs[hung].execution.steps.values()))
    client.terminate_run(hung)
    wait_for(lambda: server.runs[failed].execution.ended is not None)
    assert client.get_run(hung).state == "CANCELED"
    assert client.get_run(failed).state == "FAILED"
    assert "read" in client.get_run(failed).error.message
    with pytest.raises(ApiException) as refused:
        client.terminate_run(failed)
    assert refused.value.status == 400


def test_a_loop_in_an_exit_handler_fails_without_an_error_and_one_in_a_pipeline_of_its_own_runs(
    server: "KubeflowServer", client: Any, tmp_path: Path
):
    from tests.servers import trivial

    server.faults.rehearsed = True
    for pipeline, state, steps in (
        (trivial.loop_in_exit_handler, "FAILED", []),
        (trivial.loop_in_pipeline, "SUCCEEDED", ["tell", "write", "write"]),
    ):
        package = tmp_path / "pipeline.yaml"
        package.write_text(trivial.compiled(pipeline), encoding="utf-8")
        id = run(client, str(package), pipeline.name).run_id
        wait_for(lambda id=id: server.runs[id].execution.ended is not None)
        found = client.get_run(id)
        assert (found.state, found.error) == (state, None)
        assert sorted(step.name for step in server.runs[id].execution.succeeded) == steps


def test_retries_of_a_step_in_a_loop_are_ignored(server: "KubeflowServer", client: Any, tmp_path: Path):
    from tests.servers import trivial

    server.faults.rehearsed = True
    server.faults.break_step(1, "is killed")
    package = tmp_path / "pipeline.yaml"
    package.write_text(trivial.compiled(trivial.loop_in_pipeline), encoding="utf-8")
    id = run(client, str(package), "ignored").run_id
    wait_for(lambda: server.runs[id].execution.ended is not None)
    assert [(step.name, step.attempts) for step in server.runs[id].execution.failed] == [("write", 1)]


def test_an_unknown_field_anywhere_is_a_400(server: "KubeflowServer", client: Any):
    import requests

    from tests.servers import trivial

    spec, experiment = trivial.specification(), client.create_experiment("greeting").experiment_id
    body = {"display_name": "x", "experiment_id": experiment, "pipeline_spec": spec}
    wrong: list[dict[str, Any]] = [
        {**body, "colour": "red"},
        {**body, "pipeline_spec": {**spec, "colour": "red"}},
        {**body, "runtime_config": {"colour": "red"}},
        {**body, "runtime_config": {"parameters": {"whom": "you"}}},
        {**body, "pipeline_spec": {"pipeline_spec": spec, "platform_spec": platform({"colour": "red"})}},
        {**body, "pipeline_spec": {"pipeline_spec": spec, "platform_spec": platform({"secretAsEnv": [SECRET]})}},
        {**body, "pipeline_version_reference": {"pipeline_id": "x"}},
    ]
    for each in wrong:
        assert requests.post(f"{server.url}/apis/v2beta1/runs", json=each).status_code == 400, each
    assert requests.get(f"{server.url}/apis/v2beta1/runs?namespace=kubeflow").status_code == 400


SECRET = {"secretName": "mlflow", "keyToEnv": [{"secretKey": "token", "envVar": "MLFLOW_TRACKING_TOKEN"}]}


def platform(config: dict[str, Any]) -> dict[str, Any]:
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-write": config}}}}}


def test_lists_are_filtered_sorted_and_paged(server: "KubeflowServer", client: Any, package: str):
    import json

    server.faults.rehearsed = True
    for name in ("a", "b", "c"):
        run(client, package, name)
    found = client.list_runs(page_size=2, sort_by="created_at desc")
    assert [each.display_name for each in found.runs] == ["c", "b"]
    rest = client.list_runs(page_size=2, sort_by="created_at desc", page_token=found.next_page_token)
    assert rest.runs[0].display_name == "a"
    wanted = json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": "b"}]})
    assert [each.display_name for each in client.list_runs(filter=wanted).runs] == ["b"]


def test_pipelines_have_versions_that_runs_and_recurring_runs_refer_to(
    server: "KubeflowServer", client: Any, package: str
):
    from kfp_server_api import ApiException

    server.faults.rehearsed = True
    uploaded = client.upload_pipeline(package, pipeline_name="published")
    version = client.upload_pipeline_version(package, "v2", pipeline_id=uploaded.pipeline_id)
    assert client.get_pipeline_id("published") == uploaded.pipeline_id
    assert len(client.list_pipeline_versions(uploaded.pipeline_id).pipeline_versions) == 2
    with pytest.raises(ApiException, match="409"):
        client.upload_pipeline(package, pipeline_name="published")
    experiment = client.create_experiment("greeting").experiment_id
    ids = {"pipeline_id": uploaded.pipeline_id, "version_id": version.pipeline_version_id}
    assert client.run_pipeline(experiment, "of a version", **ids).run_id in server.runs
    cron = "0 0 2 * * *"
    made = client.create_recurring_run(experiment, "nightly", cron_expression=cron, no_catchup=True, **ids)
    id = made.recurring_run_id
    client.disable_recurring_run(id)
    assert client.get_recurring_run(id).status == "DISABLED"
    client.enable_recurring_run(id)
    assert [each.recurring_run_id for each in client.list_recurring_runs().recurring_runs] == [id]
    assert server.described(server.tick(id))["recurring_run_id"] == id
    client.delete_recurring_run(id)
    with pytest.raises(ApiException, match="404"):
        client.get_recurring_run(id)
    for wrong in ("0 2 * * *", "0 61 2 * * *", "0 0 2 * * 7", "TZ=Europe/Berlin 0 0 2 * * *"):
        with pytest.raises(ApiException, match="400"):
            client.create_recurring_run(experiment, "wrong", cron_expression=wrong, **ids)
