"""What a compiled pipeline asks of Vertex AI, read back as its own messages: custom jobs, worker pools, scheduling."""

import pytest
from pydantic import TypeAdapter

from pipelines.targets.vertex.specification import REDUCTION_SERVER
from preprocessing.engines import Engine
from tests.pipelines.compiled import Compiled, compiled, images

# Vertex AI's messages take seconds to import: one process does it.
pytestmark = pytest.mark.xdist_group("vertex")


def test_artifacts_and_datasets_lie_under_the_root():
    pipeline = compiled("vertex")
    assert pipeline.given("dataset_root") == "gs://bucket/vae/datasets"
    assert pipeline.spec.default_pipeline_root == "gs://bucket/vae"


def test_a_step_without_a_machine_gets_one_that_fits():
    pipeline = compiled("vertex", "targets.vertex.steps.preprocess={cpu: 8, memory: 32G}")
    assert not pipeline.is_custom_job("preprocess")
    resources = pipeline.container("preprocess")["resources"]
    assert (resources["resourceCpuLimit"], resources["resourceMemoryLimit"]) == ("8", "32G")


def test_a_step_with_a_machine_is_a_custom_job_on_it():
    pipeline = compiled(
        "vertex",
        images("vertex"),
        "targets.vertex.steps.evaluate={machine: n2-highmem-8, disk_gigabytes: 300}",
        "targets.vertex.steps.evaluate.timeout_minutes=90",
        "targets.vertex.steps.evaluate.provisioning=spot",
    )
    job = pipeline.custom_job("evaluate")
    (pool,) = job.job_spec.worker_pool_specs
    assert job.display_name == "digits-evaluate"
    assert pool.machine_spec.machine_type == "n2-highmem-8"
    assert pool.machine_spec.accelerator_type == 0
    assert (pool.disk_spec.boot_disk_type, pool.disk_spec.boot_disk_size_gb) == ("pd-ssd", 300)
    assert pool.container_spec.image_uri == "registry.example/elboflow-cpu:1"
    assert job.job_spec.scheduling.timeout.seconds == 5400
    assert job.job_spec.scheduling.strategy == job.job_spec.scheduling.SPOT


def test_a_custom_job_runs_the_step_s_own_code_with_the_pipeline_s_inputs():
    pipeline = compiled("vertex", "targets.vertex.steps.train.accelerator=l4")
    (pool,) = pipeline.pools("train")
    plain = compiled("vertex").container("train")
    assert list(pool.container_spec.command) == plain["command"]
    assert list(pool.container_spec.args) == [
        "{{$.json_escape[1]}}" if argument == "{{$}}" else argument for argument in plain["args"]
    ]
    task, same = pipeline.tasks["train"], compiled("vertex").tasks["train"]
    assert (task.inputs, task.dependent_tasks, task.retry_policy, task.caching_options) == (
        same.inputs,
        same.dependent_tasks,
        same.retry_policy,
        same.caching_options,
    )


def machine(pipeline: Compiled, step: str = "train") -> tuple[str, str, int, str, int]:
    (pool,) = pipeline.pools(step)
    spec = pool.machine_spec
    kind = type(spec).DESCRIPTOR.fields_by_name["accelerator_type"].enum_type.values_by_number[spec.accelerator_type]
    name = "" if spec.accelerator_type == 0 else kind.name
    return spec.machine_type, name, spec.accelerator_count, spec.tpu_topology, pool.replica_count


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ("{accelerator: t4}", ("n1-standard-4", "NVIDIA_TESLA_T4", 1, "", 1)),
        ("{accelerator: t4, machine: n1-highmem-8}", ("n1-highmem-8", "NVIDIA_TESLA_T4", 1, "", 1)),
        ("{accelerator: {kind: l4, count: 4}}", ("g2-standard-48", "NVIDIA_L4", 4, "", 1)),
        ("{accelerator: a100-40gb, machine: a2-highgpu-4g}", ("a2-highgpu-4g", "NVIDIA_TESLA_A100", 4, "", 1)),
        ("{accelerator: a100-80gb}", ("a2-ultragpu-1g", "NVIDIA_A100_80GB", 1, "", 1)),
        ("{accelerator: h100-80gb}", ("a3-highgpu-8g", "NVIDIA_H100_80GB", 8, "", 1)),
        ("{accelerator: h100-80gb, provisioning: spot}", ("a3-highgpu-1g", "NVIDIA_H100_80GB", 1, "", 1)),
        ("{accelerator: h200-141gb}", ("a3-ultragpu-8g", "NVIDIA_H200_141GB", 8, "", 1)),
        ("{accelerator: v5e}", ("ct5lp-hightpu-1t", "", 0, "1x1", 1)),
        ("{accelerator: {kind: v5e, count: 16}}", ("ct5lp-hightpu-4t", "", 0, "4x4", 1)),
        ("{accelerator: {kind: v6e, count: 8}}", ("ct6e-standard-8t", "", 0, "2x4", 1)),
        ("{accelerator: {kind: v6e, count: 8}, machine: ct6e-standard-4t}", ("ct6e-standard-4t", "", 0, "2x4", 1)),
    ],
)
def test_the_machine_follows_from_the_accelerator(train: str, expected: tuple[str, str, int, str, int]):
    assert machine(compiled("vertex", f"targets.vertex.steps.train={train}")) == expected


def test_a_disk_is_of_the_type_that_the_machine_takes():
    pipeline = compiled("vertex", "targets.vertex.steps.train={accelerator: h200-141gb, disk_gigabytes: 500}")
    (pool,) = pipeline.pools("train")
    assert (pool.disk_spec.boot_disk_type, pool.disk_spec.boot_disk_size_gb) == ("hyperdisk-balanced", 500)


def test_gpus_may_be_waited_for():
    pipeline = compiled(
        "vertex", "targets.vertex.steps.train={accelerator: h100-80gb, provisioning: flex_start, max_wait_minutes: 30}"
    )
    scheduling = pipeline.custom_job("train").job_spec.scheduling
    assert scheduling.strategy == scheduling.FLEX_START
    assert scheduling.max_wait_duration.seconds == 1800
    assert scheduling.timeout.seconds == 7 * 24 * 3600


def test_several_machines_of_gpus_are_a_leader_others_and_adders_of_gradients():
    pipeline = compiled(
        "vertex",
        images("vertex"),
        "targets.vertex.steps.train={accelerator: {kind: a100-40gb, count: 32}, workers: 4, "
        "reduction_server: {replicas: 3, machine: n1-highcpu-32}}",
    )
    leader, others, adders = pipeline.pools("train")
    assert (leader.replica_count, others.replica_count, adders.replica_count) == (1, 3, 3)
    assert leader.machine_spec == others.machine_spec
    assert (leader.machine_spec.machine_type, leader.machine_spec.accelerator_count) == ("a2-highgpu-8g", 8)
    assert leader.container_spec == others.container_spec
    assert adders.machine_spec.machine_type == "n1-highcpu-32"
    assert adders.machine_spec.accelerator_count == 0
    assert adders.container_spec.image_uri == REDUCTION_SERVER


def test_a_training_on_several_machines_is_told_on_how_many():
    def told(*settings: str) -> list[dict[str, str]]:
        pools = compiled("vertex", images("vertex"), *settings).pools("train")
        return [{variable.name: variable.value for variable in pool.container_spec.env} for pool in pools]

    several = told("targets.vertex.steps.train={accelerator: {kind: l4, count: 4}, workers: 4}")
    assert [variables["ELBOFLOW_MACHINES"] for variables in several] == ["4", "4"]
    (slice,) = told("targets.vertex.steps.train={accelerator: {kind: v5e, count: 16}}")
    assert slice["ELBOFLOW_MACHINES"] == "4"
    (alone,) = told("targets.vertex.steps.train={accelerator: {kind: l4, count: 4}}")
    assert "ELBOFLOW_MACHINES" not in alone


@pytest.fixture
def furnished(monkeypatch: pytest.MonkeyPatch) -> Compiled:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "planted-secret")
    return compiled(
        "vertex",
        "targets.vertex.secrets={MLFLOW_TRACKING_PASSWORD: projects/p/secrets/mlflow/versions/3}",
        "targets.vertex.service_account=steps@p.iam.gserviceaccount.com",
        "targets.vertex.network=projects/12345/global/networks/inner",
        "targets.vertex.encryption_key=projects/p/locations/l/keyRings/r/cryptoKeys/k",
        "targets.vertex.labels={team: vae}",
        "targets.vertex.endpoint=api.example:443",
        "targets.vertex.runner=dataflow",
        "targets.vertex.steps.train.accelerator=l4",
    )


def test_a_custom_job_is_under_the_target_s_account_network_key_and_labels(furnished: Compiled):
    job = furnished.custom_job("train")
    assert job.job_spec.service_account == "steps@p.iam.gserviceaccount.com"
    assert job.job_spec.network == "projects/12345/global/networks/inner"
    assert job.encryption_spec.kms_key_name == "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    assert dict(job.labels) == {"team": "vae"}


def test_secrets_are_references_to_secret_manager_in_custom_jobs_too(furnished: Compiled):
    reference = "secretmanager:projects/p/secrets/mlflow/versions/3"
    (pool,) = furnished.pools("train")
    in_job = {variable.name: variable.value for variable in pool.container_spec.env}
    assert in_job == {"JAX_PLATFORMS": "cuda,cpu", "MLFLOW_TRACKING_PASSWORD": reference}
    for step in ("decide", "preprocess", "evaluate", "register", "finish"):
        assert furnished.environment(step)["MLFLOW_TRACKING_PASSWORD"] == reference
    assert "planted-secret" not in furnished.text


def test_the_last_step_asks_the_same_address_of_the_api(furnished: Compiled):
    assert furnished.environment("finish")["ELBOFLOW_VERTEX_ENDPOINT"] == "api.example:443"
    assert "ELBOFLOW_VERTEX_ENDPOINT" not in furnished.environment("register")


def test_dataflow_gets_what_the_target_says(furnished: Compiled):
    runner = furnished.given("runner")
    assert TypeAdapter(Engine).validate_python(runner).kind == "dataflow"  # the step reads it so
    assert {key: runner[key] for key in ("project", "region", "temporary", "image", "encryption_key")} == {
        "project": "vae-project",
        "region": "europe-west4",
        "temporary": "gs://bucket/vae/temporary",
        "image": "registry.example/elboflow:1",
        "encryption_key": "projects/p/locations/l/keyRings/r/cryptoKeys/k",
    }


def test_what_the_runner_says_itself_wins():
    runner = "{kind: dataflow, project: other-project, temporary: gs://elsewhere/temporary}"
    found = compiled("vertex", f"targets.vertex.runner={runner}").given("runner")
    assert (found["project"], found["temporary"]) == ("other-project", "gs://elsewhere/temporary")
