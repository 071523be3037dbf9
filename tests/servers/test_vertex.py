"""The Vertex AI server, asked by the real clients."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from elboflow.testing.platforms.storage import StorageServer

if TYPE_CHECKING:
    from elboflow.testing.platforms.vertex import VertexServer

pytestmark = pytest.mark.xdist_group("vertex")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["VertexServer"]:
    from elboflow.testing.platforms.vertex import VertexServer

    folder = tmp_path_factory.mktemp("vertex")
    with StorageServer(folder / "storage", "bucket") as storage, VertexServer(folder / "vertex", storage) as server:
        yield server


@pytest.fixture(autouse=True)
def trusted(server: "VertexServer", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
    server.faults.clear()


def options(server: "VertexServer") -> dict[str, Any]:
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials

    settings = ClientOptions(api_endpoint=server.address)
    return {"transport": "rest", "credentials": AnonymousCredentials(), "client_options": settings}


@pytest.fixture
def client(server: "VertexServer") -> Any:
    from google.cloud.aiplatform_v1 import PipelineServiceClient

    return PipelineServiceClient(**options(server))


PARENT = "projects/project/locations/europe-west4"


def submit(client: Any, id: str, pipeline: Any = None, **arguments: Any) -> Any:
    from google.cloud.aiplatform_v1 import types

    from tests.servers import trivial

    job = types.PipelineJob(
        display_name="greeting",
        labels={"kind": "test"},
        pipeline_spec=trivial.specification(pipeline or trivial.greeting),
        runtime_config={"gcs_output_directory": "gs://bucket/vae", "parameter_values": arguments},
    )
    return client.create_pipeline_job(parent=PARENT, pipeline_job=job, pipeline_job_id=id)


def ended(client: Any, server: "VertexServer", id: str) -> Any:
    from elboflow.testing.platforms.wire import wait_for

    wait_for(lambda: server.runs[id].execution.ended is not None)
    return client.get_pipeline_job(name=f"{PARENT}/pipelineJobs/{id}")


def log(server: "VertexServer", job: Any, name: str) -> list[str]:
    import requests

    detail = next(detail for detail in job.job_detail.task_details if detail.task_name == name).executor_detail
    id = (detail.container_detail.main_job or detail.custom_job_detail.job).rpartition("/")[2]
    wanted = {
        "resourceNames": ["projects/project"],
        "filter": f'resource.type="ml_job" AND resource.labels.job_id="{id}"',
    }
    answer = requests.post(f"{server.url}/v2/entries:list", json=wanted)
    assert answer.status_code == 200, answer.text
    return [entry["jsonPayload"]["message"] for entry in answer.json()["entries"]]


def test_a_loop_in_an_exit_handler_fails_without_an_error_and_one_in_a_pipeline_of_its_own_runs(
    server: "VertexServer", client: Any
):
    from tests.servers import trivial

    server.faults.rehearsed = True
    submit(client, "in-handler", trivial.loop_in_exit_handler)
    submit(client, "in-pipeline", trivial.loop_in_pipeline)
    job = ended(client, server, "in-handler")
    assert (job.state.name, job.error.message) == ("PIPELINE_STATE_FAILED", "")
    assert not server.runs["in-handler"].execution.steps
    assert ended(client, server, "in-pipeline").state.name == "PIPELINE_STATE_SUCCEEDED"


def test_a_submitted_job_executes_its_steps_with_artifacts_in_the_bucket(server: "VertexServer", client: Any):
    from google.cloud.aiplatform_v1 import types

    assert submit(client, "one", who="you").state == types.PipelineState.PIPELINE_STATE_PENDING
    job = ended(client, server, "one")
    assert job.state == types.PipelineState.PIPELINE_STATE_SUCCEEDED
    states = {detail.task_name: detail.state.name for detail in job.job_detail.task_details}
    assert states == dict.fromkeys(["one", "exit-handler-1", "write", "condition-2", "read", "tell"], "SUCCEEDED")
    written = next(detail for detail in job.job_detail.task_details if detail.task_name == "write")
    artifact = written.outputs["greeting"].artifacts[0]
    assert artifact.uri == "gs://bucket/vae/123456789012/one/write/greeting"
    assert dict(artifact.metadata) == {"length": 3.0}
    stored = server.mounts["gs://"] + artifact.uri.removeprefix("gs://")
    assert Path(stored).read_text(encoding="utf-8") == "hello you"
    assert "hello you from one" in log(server, job, "read")


def test_a_failed_step_fails_the_job_and_the_exit_task_is_told_which(server: "VertexServer", client: Any):
    submit(client, "two", who="nobody")
    job = ended(client, server, "two")
    assert job.state.name == "PIPELINE_STATE_FAILED"
    assert "[read]" in job.error.message
    assert any(line.startswith("FAILED projects/") and "[read]" in line for line in log(server, job, "tell"))


def test_an_unknown_field_anywhere_is_a_400(server: "VertexServer"):
    import requests

    from tests.servers import trivial

    job = {
        "displayName": "x",
        "pipelineSpec": trivial.specification(),
        "runtimeConfig": {"gcsOutputDirectory": "gs://bucket"},
    }
    wrong: list[dict[str, Any]] = [
        {**job, "colour": "red"},
        {**job, "pipelineSpec": {**job["pipelineSpec"], "colour": "red"}},
        {**job, "runtimeConfig": {**job["runtimeConfig"], "parameterValues": {"whom": "you"}}},
        {**job, "runtimeConfig": {**job["runtimeConfig"], "parameterValues": {"who": 3}}},
        {**job, "runtimeConfig": {"gcsOutputDirectory": "gs://absent/folder"}},
        {**job, "labels": {"Colour": "red"}},
    ]
    for body in wrong:
        answer = requests.post(f"{server.url}/v1/{PARENT}/pipelineJobs", json=body)
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT"), body
    assert requests.get(f"{server.url}/v1/{PARENT}/pipelineJobs?colour=red").status_code == 400


def test_a_job_is_cancelled_with_its_processes_and_its_id_is_taken(server: "VertexServer", client: Any):
    import subprocess

    from google.api_core.exceptions import BadRequest, Conflict, NotFound

    from elboflow.testing.platforms.wire import wait_for

    server.faults.break_step(1, "hangs")
    submit(client, "three")
    wait_for(
        lambda: "sleep 3600" in subprocess.run(["ps", "-eo", "args"], capture_output=True, encoding="utf-8").stdout
    )
    with pytest.raises(Conflict):
        submit(client, "three")
    client.cancel_pipeline_job(name=f"{PARENT}/pipelineJobs/three")
    job = ended(client, server, "three")
    assert job.state.name == "PIPELINE_STATE_CANCELLED"
    server.runs["three"].execution.close()
    assert "sleep 3600" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, encoding="utf-8").stdout
    with pytest.raises(BadRequest):
        client.cancel_pipeline_job(name=f"{PARENT}/pipelineJobs/three")
    with pytest.raises(NotFound):
        client.get_pipeline_job(name=f"{PARENT}/pipelineJobs/four")


def test_jobs_are_listed_by_label_newest_first_in_pages_and_masked(server: "VertexServer", client: Any):
    server.faults.rehearsed = True
    for id in ("first", "second", "third"):
        submit(client, id)
    request = {"parent": PARENT, "filter": 'labels.kind:* AND display_name="greeting"', "page_size": 2}
    found = list(
        client.list_pipeline_jobs({**request, "order_by": "create_time desc", "read_mask": {"paths": ["name"]}})
    )
    assert [job.name.rpartition("/")[2] for job in found[:3]] == ["third", "second", "first"]
    assert not found[0].display_name
    assert not list(client.list_pipeline_jobs({**request, "filter": "labels.colour:*"}))


def test_a_component_of_google_cloud_pipeline_components_runs_as_a_custom_job(server: "VertexServer", client: Any):
    from google_cloud_pipeline_components.v1.custom_job import create_custom_training_job_from_component
    from kfp import dsl

    from tests.servers import trivial

    training = create_custom_training_job_from_component(
        trivial.write, display_name="write", machine_type="n1-standard-4", env=[{"name": "COLOUR", "value": "red"}]
    )

    @dsl.pipeline(name="greeting", pipeline_root="gs://bucket/vae")
    def pipeline(who: str) -> None:
        written = training(who=who)
        trivial.read(greeting=written.outputs["greeting"], job="", who=written.outputs["Output"])

    submit(client, "custom", pipeline, who='a "quoted" name')
    job = ended(client, server, "custom")
    assert job.state.name == "PIPELINE_STATE_SUCCEEDED", log(server, job, "write")
    assert 'hello a "quoted" name from ' in log(server, job, "read")
    assert any("KFP Executor" in line for line in log(server, job, "write"))
    (launched,) = server.custom_jobs.values()
    assert launched.state == "JOB_STATE_SUCCEEDED"
    assert launched.message.job_spec.worker_pool_specs[0].machine_spec.machine_type == "n1-standard-4"
    assert launched.owner == "custom"


def test_a_schedule_is_made_paused_resumed_changed_ticks_and_is_deleted(server: "VertexServer"):
    import requests
    from google.api_core.exceptions import NotFound
    from google.cloud.aiplatform_v1 import ScheduleServiceClient, types

    from tests.servers import trivial

    server.faults.rehearsed = True
    client = ScheduleServiceClient(**options(server))
    job = types.PipelineJob(
        pipeline_spec=trivial.specification(), runtime_config={"gcs_output_directory": "gs://bucket/vae"}
    )
    wanted = types.Schedule(
        display_name="nightly",
        cron="TZ=Europe/Berlin 0 2 * * *",
        max_concurrent_run_count=1,
        create_pipeline_job_request={"parent": PARENT, "pipeline_job": job},
    )
    made = client.create_schedule(parent=PARENT, schedule=wanted)
    assert made.state == types.Schedule.State.ACTIVE
    assert made.next_run_time.hour in (0, 1)  # two o'clock in Berlin
    client.pause_schedule(name=made.name)
    assert client.get_schedule(name=made.name).state == types.Schedule.State.PAUSED
    client.resume_schedule(name=made.name)
    made.cron = "30 4 * * 1"
    assert client.update_schedule(schedule=made, update_mask={"paths": ["cron"]}).next_run_time.weekday() == 0
    run = server.tick(made.name.rpartition("/")[2])
    assert run.message.schedule_name == made.name
    assert [each.name for each in client.list_schedules(parent=PARENT)] == [made.name]
    client.delete_schedule(name=made.name).result(timeout=10)
    with pytest.raises(NotFound):
        client.get_schedule(name=made.name)
    for wrong in ({"cron": "61 * * * *"}, {"cron": "TZ=Europe/Bonn 0 2 * * *"}, {"colour": "red"}):
        body = {**types.Schedule.to_dict(wanted, preserving_proto_field_name=False), **wrong}
        answer = requests.post(f"{server.url}/v1/{PARENT}/schedules", json=body)
        assert answer.status_code == 400, wrong


def test_the_registry_takes_lists_tags_and_returns_pipelines_and_jobs_are_made_of_them(
    server: "VertexServer", client: Any, tmp_path: Path
):
    import requests
    from google.api_core.exceptions import BadRequest
    from google.cloud.aiplatform_v1 import types
    from kfp.registry import RegistryClient

    from tests.servers import trivial

    server.faults.rehearsed = True
    (tmp_path / "pipeline.yaml").write_text(trivial.compiled(), encoding="utf-8")
    registry = RegistryClient(host=server.repository())
    package, version = registry.upload_pipeline(str(tmp_path / "pipeline.yaml"), tags=["v1", "latest"])
    assert package == "greeting"
    assert [found["name"] for found in registry.list_packages()] == ["packages/greeting"]
    assert registry.list_versions(package)[0]["name"].endswith(version)
    assert registry.get_tag(package, "v1")["version"] == f"packages/greeting/versions/{version}"
    assert registry.get_version(package, version)["relatedTags"]
    downloaded = registry.download_pipeline(package, tag="v1", file_name=str(tmp_path / "downloaded.yaml"))
    assert Path(downloaded).read_text(encoding="utf-8") == trivial.compiled()
    with pytest.raises(requests.HTTPError, match="404"):
        registry.get_tag(package, "v2")
    config = {"gcs_output_directory": "gs://bucket/vae"}
    job = types.PipelineJob(template_uri=f"{server.repository()}/greeting/v1", runtime_config=config)
    client.create_pipeline_job(parent=PARENT, pipeline_job=job, pipeline_job_id="published")
    job.template_uri = f"{server.repository()}/greeting/v2"
    with pytest.raises(BadRequest, match="does not exist"):
        client.create_pipeline_job(parent=PARENT, pipeline_job=job)


def test_faults_meet_requests_as_injected(server: "VertexServer", client: Any):
    import requests
    from google.api_core.exceptions import Forbidden

    server.faults.rehearsed = True
    server.faults.refuse("GET", ".*/pipelineJobs", 403, "no")
    with pytest.raises(Forbidden, match="no"):
        list(client.list_pipeline_jobs(parent=PARENT))
    server.faults.refuse("GET", ".*/pipelineJobs", 429, Retry_After="7")
    answer = requests.get(f"{server.url}/v1/{PARENT}/pipelineJobs")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    server.faults.reset("POST", ".*/pipelineJobs")
    with pytest.raises(requests.ConnectionError):
        submit(client, "applied")
    assert "applied" in server.runs
    server.token = "secret"
    assert requests.get(f"{server.url}/v1/{PARENT}/pipelineJobs").status_code == 401
    server.token = None
