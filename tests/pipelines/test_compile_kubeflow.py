"""What a compiled pipeline asks of a Kubernetes cluster, read back as kfp-kubernetes' own messages."""

import pytest

from elboflow.settings import RequestError
from pipelines.experiment import load
from tests.pipelines.compiled import TARGETS, WORK, Compiled, compiled

STEPS = ["decide", *WORK, "finish"]


def refusal(*assignments: str) -> str:
    with pytest.raises(RequestError) as caught:
        load("digits", [f"targets.kubeflow={TARGETS['kubeflow']}", *assignments])
    return str(caught.value)


def test_a_pod_gets_as_much_as_it_asks_for_and_no_more():
    pipeline = compiled("kubeflow", "targets.kubeflow.steps.train={cpu: 3.5, memory: 16Gi, timeout_minutes: 90}")
    resources = pipeline.container("train")["resources"]
    assert resources["resourceCpuRequest"] == resources["resourceCpuLimit"] == "3.5"
    assert resources["resourceMemoryRequest"] == resources["resourceMemoryLimit"] == "16Gi"
    assert pipeline.pod("train").active_deadline_seconds == 5400


@pytest.mark.parametrize(
    ("accelerator", "resource", "count", "labels"),
    [
        ("t4", "nvidia.com/gpu", "1", {"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"}),
        (
            "{kind: l4, count: 4}",
            "nvidia.com/gpu",
            "4",
            {"cloud.google.com/gke-accelerator": "nvidia-l4"},
        ),
        (
            "{kind: v5e, count: 8}",
            "google.com/tpu",
            "8",
            {
                "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
                "cloud.google.com/gke-tpu-topology": "2x4",
            },
        ),
    ],
)
def test_an_accelerator_is_a_resource_a_node_and_a_toleration(
    accelerator: str, resource: str, count: str, labels: dict[str, str]
):
    pipeline = compiled("kubeflow", f"targets.kubeflow.steps.train.accelerator={accelerator}")
    asked = pipeline.container("train")["resources"]["accelerator"]
    assert (asked["resourceType"], asked["resourceCount"]) == (resource, count)
    pod = pipeline.pod("train")
    assert dict(pod.node_selector.labels) == labels
    (toleration,) = pod.tolerations
    assert (toleration.key, toleration.operator, toleration.effect) == (resource, "Exists", "NoSchedule")
    assert not pipeline.pod("evaluate").tolerations


@pytest.mark.parametrize(("step", "cpu", "memory"), [("train", "1", "2Gi"), ("preprocess", "0.5", "1Gi")])
def test_a_pod_requests_something_and_has_no_limit_where_nothing_is_said(step: str, cpu: str, memory: str):
    resources = compiled("kubeflow").container(step)["resources"]
    assert (resources["resourceCpuRequest"], resources["resourceMemoryRequest"]) == (cpu, memory)
    assert not [key for key in resources if key.endswith("Limit")]


def test_a_pod_with_an_accelerator_shares_more_memory_than_containers_do_by_default():
    pod = compiled("kubeflow", "targets.kubeflow.steps.train.accelerator={kind: l4, count: 4}").pod("train")
    (mount,) = pod.empty_dir_mounts
    assert (mount.mount_path, mount.medium, mount.size_limit) == ("/dev/shm", "Memory", "1Gi")
    assert not compiled("kubeflow").pod("train").empty_dir_mounts
    (asked,) = compiled("kubeflow", "targets.kubeflow.steps.train.shared_memory=8Gi").pod("train").empty_dir_mounts
    assert asked.size_limit == "8Gi"


def test_a_gpu_of_another_platform_is_chosen_by_the_labels_of_its_nodes(caplog: pytest.LogCaptureFixture):
    generic = "targets.kubeflow.platform=generic"
    wanted = "{kind: nvidia, count: 2, node_selector: {nvidia.com/gpu.product: NVIDIA-A10}}"
    with caplog.at_level("INFO", "elboflow"):
        pipeline = compiled("kubeflow", generic, f"targets.kubeflow.steps.train.accelerator={wanted}")
    assert pipeline.container("train")["resources"]["accelerator"]["resourceCount"] == "2"
    assert dict(pipeline.pod("train").node_selector.labels) == {"nvidia.com/gpu.product": "NVIDIA-A10"}
    assert "the pods of train wait for a node with nvidia.com/gpu.product=NVIDIA-A10 (platform: generic)" in caplog.text
    for kind in ("l4", "v5e"):
        told = refusal(generic, f"targets.kubeflow.steps.train.accelerator={kind}")
        assert "targets.kubeflow.steps.train.accelerator.kind: only nodes of GKE are labelled with this kind" in told


def test_a_cluster_with_other_labels_takes_one_of_gke_s_away():
    pipeline = compiled(
        "kubeflow",
        "targets.kubeflow.steps.train={accelerator: l4, node_selector: {cloud.google.com/gke-accelerator: null, "
        "nvidia.com/gpu.product: NVIDIA-L4}, tolerations: [{key: team, value: vae, effect: NoExecute}]}",
    )
    pod = pipeline.pod("train")
    assert dict(pod.node_selector.labels) == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert [(t.key, t.operator, t.value, t.effect) for t in pod.tolerations] == [
        ("nvidia.com/gpu", "Exists", "", "NoSchedule"),
        ("team", "Equal", "vae", "NoExecute"),
    ]


@pytest.fixture
def furnished(monkeypatch: pytest.MonkeyPatch) -> Compiled:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "planted-secret")
    return compiled(
        "kubeflow",
        "targets.kubeflow.secrets={MLFLOW_TRACKING_PASSWORD: {name: mlflow, key: password}, "
        "ALARM: {name: chat, key: address}}",
        "targets.kubeflow.pull_secrets=[registry]",
        "targets.kubeflow.volumes=[{claim: raw, mount: /raw}, {claim: saved, mount: /saved, steps: [train]}]",
        "targets.kubeflow.labels={team: vae}",
        "targets.kubeflow.steps.train.labels={size: l}",
        "targets.kubeflow.annotations={sidecar.istio.io/inject: 'false'}",
        "targets.kubeflow.host=https://kubeflow.example",
    )


@pytest.mark.parametrize("step", STEPS)
def test_every_step_gets_secrets_by_name_its_volumes_labels_and_the_right_to_pull(furnished: Compiled, step: str):
    pod = furnished.pod(step)
    assert [(s.secret_name, s.key_to_env[0].secret_key, s.key_to_env[0].env_var) for s in pod.secret_as_env] == [
        ("mlflow", "password", "MLFLOW_TRACKING_PASSWORD"),
        ("chat", "address", "ALARM"),
    ]
    mounts = [(m.pvc_name_parameter.runtime_value.constant.string_value, m.mount_path) for m in pod.pvc_mount]
    assert mounts == {"train": [("raw", "/raw"), ("saved", "/saved")], "finish": []}.get(step, [("raw", "/raw")])
    assert dict(pod.pod_metadata.labels) == {"team": "vae", **({"size": "l"} if step == "train" else {})}
    assert dict(pod.pod_metadata.annotations) == {"sidecar.istio.io/inject": "false"}
    assert [secret.secret_name for secret in pod.image_pull_secret] == ["registry"]
    assert furnished.environment(step)["ELBOFLOW_SECRETS"] == "ALARM,MLFLOW_TRACKING_PASSWORD"


def test_no_value_of_a_secret_goes_into_it(furnished: Compiled):
    assert "planted-secret" not in furnished.text


def test_the_last_step_knows_where_the_run_s_page_is(furnished: Compiled):
    console = furnished.spec.root.dag.tasks["finish"].inputs.parameters["console"]
    assert console.runtime_value.constant.string_value == "https://kubeflow.example/#/runs/details/"


def test_each_run_has_a_dataset_of_its_own():
    assert compiled("kubeflow").given("dataset_root") == ""


def test_dataflow_runs_the_preprocessing_in_the_image_of_the_steps():
    runner = "{kind: dataflow, project: vae-project, region: europe-west4, temporary: gs://bucket/temporary}"
    found = compiled("kubeflow", f"targets.kubeflow.runner={runner}").given("runner")
    assert (found["kind"], found["image"]) == ("dataflow", "registry.example/elboflow:1")


def test_a_slice_of_several_machines_is_refused_with_those_of_one():
    told = refusal("targets.kubeflow.steps.train.accelerator={kind: v5e, count: 16}")
    assert "targets.kubeflow.steps.train.accelerator.count: 16 chips of v5e are in 4 machines" in told
    assert told.endswith("allowed: 1, 4, 8")


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("runner={kind: flink, job_server: 'flink:8099'}", "targets.kubeflow.runner.temporary: missing"),
        ("runner=dataflow", "targets.kubeflow.runner.project: missing"),
        (
            "steps.preprocess.accelerator=l4",
            "targets.kubeflow.steps.preprocess.accelerator: this step computes on processors; steps that can use",
        ),
        ("steps.train.memory=lots", "must be an amount such as 16Gi"),
        ("tracking_uri=https://me:word@mlflow", "no name and no password"),
    ],
)
def test_what_a_cluster_could_not_do_is_refused(assignment: str, told: str):
    assert told in refusal(f"targets.kubeflow.{assignment}")
