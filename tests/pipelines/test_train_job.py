"""A training on several machines on Kubeflow: a TrainJob, made, waited for, taken over and deleted by the step."""

import importlib.util
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.surroundings import retries
from elboflow.settings import RequestError, WorkError
from elboflow.settings.variables import TRAIN_JOB
from elboflow.testing.platforms.trainer import TrainerServer
from elboflow.testing.platforms.wire import wait_for
from elboflow.vae import folder as models
from pipelines.experiment import load
from pipelines.graphs import steps
from pipelines.step_process import train_job
from pipelines.step_process.train_job import train_on_machines
from pipelines.step_process.train_worker import Request
from pipelines.sweeps import axes
from pipelines.sweeps.candidates import Plan, SearchSettings
from pipelines.targets.kubeflow import train_jobs
from pipelines.targets.submission import sweep_job
from tests.pipelines.compiled import TARGETS, compiled
from tests.pipelines.remote import Platform, newest_version

pytestmark = pytest.mark.xdist_group("kubeflow")

URI = "minio://mlpipeline/train/v2/artifacts/digits/0f0e-1/train/7c/model"
TWO = "targets.kubeflow.steps.train={workers: 2}"


def volume(mount: Path | str = "/volume") -> str:
    return f"targets.kubeflow.volumes=[{{claim: work, mount: {mount}, steps: [train]}}]"


def made(*assignments: str, backend: str = "jax", mount: Path | str = "/volume") -> dict[str, Any]:
    """Returns the TrainJob that a compiled pipeline holds."""
    settings = [volume(mount), f"training.backend={backend}", *(assignments or [TWO])]
    found: dict[str, Any] = json.loads(compiled("kubeflow", *settings).environment("train")[TRAIN_JOB])
    return found


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    (patch,) = job["spec"]["runtimePatches"]
    (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    found: dict[str, Any] = node["template"]["spec"]["template"]["spec"]
    return found


def test_the_train_job_has_the_chips_the_nodes_and_the_volume_and_the_step_s_own_pod_has_none():
    train = "{accelerator: {kind: l4, count: 4}, workers: 2, cpu: 8, memory: 32Gi, timeout_minutes: 60}"
    assignments = [
        volume(),
        "training.backend=jax",
        f"targets.kubeflow.steps.train={train}",
        "targets.kubeflow.secrets={MLFLOW_TRACKING_TOKEN: {name: mlflow, key: token}}",
        "targets.kubeflow.pull_secrets=[registry]",
    ]
    pipeline = compiled("kubeflow", *assignments)
    job = json.loads(pipeline.environment("train")[TRAIN_JOB])
    spec, pod = job["spec"], pod_of(job)
    assert spec["runtimeRef"] == {"name": "jax-distributed"}
    assert spec["activeDeadlineSeconds"] == 3600
    assert spec["trainer"]["numNodes"] == 2
    limits = {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"}
    assert spec["trainer"]["resourcesPerNode"] == {"requests": limits, "limits": limits}
    given = {each["name"]: each.get("value", each.get("valueFrom")) for each in spec["trainer"]["env"]}
    assert (given["ELBOFLOW_MACHINES"], given["JAX_PLATFORMS"]) == ("2", "cuda,cpu")
    assert given["MLFLOW_TRACKING_TOKEN"] == {"secretKeyRef": {"name": "mlflow", "key": "token"}}
    assert given["ELBOFLOW_SECRETS"] == "MLFLOW_TRACKING_TOKEN"
    assert pod["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounted == {"volume-0": "/volume", "shared-memory": "/dev/shm"}
    resources = pipeline.container("train")["resources"]
    assert "accelerator" not in resources
    assert resources["resourceMemoryRequest"] == "1Gi"
    assert not pipeline.pod("train").tolerations
    assert [claim.mount_path for claim in pipeline.pod("train").pvc_mount] == ["/volume"]
    training = pipeline.tasks["train"].inputs.parameters["training"].runtime_value.constant.string_value
    assert json.loads(training)["parallel"]["kind"] == "data"


def test_the_step_that_makes_a_train_job_has_the_inputs_and_outputs_of_the_step_that_trains():
    ours, plain = train_jobs.train.component_spec, steps.train.component_spec
    assert (ours.inputs, ours.outputs) == (plain.inputs, plain.outputs)


def test_a_training_without_several_machines_is_the_step_itself():
    pipeline = compiled("kubeflow")
    assert TRAIN_JOB not in pipeline.environment("train")
    assert "components.train" in json.dumps(pipeline.container("train"))


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        ([TWO], "targets.kubeflow.volumes: missing; the pods of a training on several machines"),
        (
            [volume(), TWO, "training.backend=tensorflow"],
            "backend tensorflow needs those of all; possible with: jax, t",
        ),
        ([volume(), "targets.kubeflow.steps.evaluate={workers: 2}"], "is for `train`; this step is one pod"),
        ([volume(), "targets.kubeflow.steps.train={runtime: mine}"], "is that of a TrainJob; it needs `workers: 2`"),
        (
            [volume(), "targets.kubeflow.steps.train={workers: 2, accelerator: {kind: v5e, count: 4}}"],
            "2 is not allowed with TPUs",
        ),
        (
            [volume(), "targets.kubeflow.steps.train={workers: 2, accelerator: {kind: l4, count: 3}}"],
            "must be a multiple of `workers`, 2",
        ),
    ],
)
def test_what_no_train_job_can_be_is_refused_before_anything_is_compiled(assignments: list[str], said: str):
    with pytest.raises(RequestError) as refused:
        compiled("kubeflow", "training.backend=jax", *assignments)
    assert said in str(refused.value)


def test_a_sweep_s_trials_are_refused_several_machines():
    given = [f"targets.kubeflow={TARGETS['kubeflow']}", volume(), TWO, "training.backend=jax"]
    experiment = load("digits", given)
    plan = Plan(experiment, axes.parse(["seed=0,1"], experiment), 2, SearchSettings("grid", 2, prune=False))
    with pytest.raises(RequestError, match="2 machines; each trial of a sweep trains on one"):
        sweep_job(plan, "kubeflow")


def test_a_runtime_of_the_cluster_s_own_may_be_named_and_that_of_pytorch_is_another():
    assert made("targets.kubeflow.steps.train={workers: 2, runtime: ours}")["spec"]["runtimeRef"]["name"] == "ours"
    assert made(backend="torch")["spec"]["runtimeRef"]["name"] == "torch-distributed"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainerServer]:
    monkeypatch.setattr(train_job, "SECONDS_BETWEEN", 0.02)
    monkeypatch.setattr(retries, "WAITS", (0.01, 0.02))
    with TrainerServer(tmp_path / "cluster") as server:
        server.executes = False
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
        monkeypatch.setenv("KFP_POD_NAME", "train-1")
        yield server


Trained = Callable[[], Path]
FOLDER = "volume/elboflow/0f0e-1/train"


@pytest.fixture
def trained(tmp_path: Path, small_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """Runs the step, and returns its output."""
    monkeypatch.setenv(TRAIN_JOB, json.dumps(made(mount=tmp_path / "volume")))

    def train() -> Path:
        output = tmp_path / "output/model"
        train_on_machines(small_dataset, output, URI, Request("{}", "{}", 0, "digits", "http://mlflow"))
        return output

    return train


@pytest.fixture(scope="module")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from components.preprocess import preprocess
    from preprocessing.config import DataConfig

    folder = tmp_path_factory.mktemp("train-job") / "dataset"
    preprocess(DataConfig.model_validate({"source": "sklearn"}), folder)
    return folder


def when_made(cluster: TrainerServer, then: Callable[[Any], None]) -> None:
    """Does something to the TrainJob once it is there."""

    def act() -> None:
        wait_for(lambda: bool(cluster.jobs))
        then(next(iter(cluster.jobs.values())))

    threading.Thread(target=act, daemon=True).start()


def completes(tmp_path: Path) -> Callable[[Any], None]:
    def complete(job: Any) -> None:
        model = tmp_path / FOLDER / "model"
        model.mkdir(parents=True)
        (model / "model.json").write_text("{}", encoding="utf-8")
        job.ends("Complete")

    return complete


def test_the_model_that_the_train_job_wrote_is_the_step_s_and_nothing_stays_behind(
    cluster: TrainerServer, trained: Trained, tmp_path: Path
):
    when_made(cluster, completes(tmp_path))
    assert (trained() / "model.json").is_file()
    assert not cluster.jobs
    assert not (tmp_path / FOLDER).exists()
    (created,) = cluster.asked("POST", ".*/trainjobs")
    metadata = created.json()["metadata"]
    assert metadata["annotations"] == {"elboflow/run": "0f0e-1"}
    assert metadata["ownerReferences"][0]["kind"] == "Workflow", "with which it is deleted"
    given = json.loads(created.json()["spec"]["trainer"]["command"][-1])
    assert Path(given["dataset"]).is_relative_to(tmp_path / FOLDER / "datasets")


def test_the_train_job_is_told_how_the_platform_s_mlflow_is_asked_but_no_secret_of_it(
    cluster: TrainerServer,
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    how = {"TRACKING_URI": "http://mlflow", "EXPERIMENT_ID": "7", "RUN_ID": "0f", "WORKSPACE": "team-a",
           "TRACKING_AUTH": "kubernetes-namespaced", "TRACKING_INSECURE_TLS": "true"}  # fmt: skip
    for name, value in {**how, "TRACKING_TOKEN": "secret", "TRACKING_PASSWORD": "secret"}.items():
        monkeypatch.setenv(f"MLFLOW_{name}", value)
    job = made(
        TWO, "targets.kubeflow.secrets={MLFLOW_TRACKING_TOKEN: {name: mlflow, key: token}}", mount=tmp_path / "volume"
    )
    monkeypatch.setenv(TRAIN_JOB, json.dumps(job))
    when_made(cluster, completes(tmp_path))
    trained()
    (created,) = cluster.asked("POST", ".*/trainjobs")
    told = created.json()["spec"]["trainer"]["env"]
    values = {each["name"]: each.get("value") for each in told}
    assert {f"MLFLOW_{name}": value for name, value in how.items()}.items() <= values.items()
    assert "secret" not in json.dumps(told).replace("secretKeyRef", "")
    assert len(values) == len(told), "each is told once"
    assert [line for line in caplog.messages if line.startswith("MLFLOW_")] == [
        "MLFLOW_TRACKING_PASSWORD: not told to the TrainJob; name it in targets.kubeflow.secrets"
    ]


def test_the_next_try_of_a_step_that_was_killed_takes_over_the_train_job(
    cluster: TrainerServer, trained: Trained, tmp_path: Path
):
    class KilledError(Exception):
        """Stands for SIGKILL: nothing is tidied up after it."""

    with pytest.MonkeyPatch.context() as patched:

        def kill(*_: object) -> None:
            raise WorkError("killed")

        patched.setattr(train_job, "_end_of", kill)
        with pytest.raises(WorkError):
            trained()
    (before,) = cluster.jobs.values()
    completes(tmp_path)(before)
    trained()
    assert len(cluster.asked("POST", ".*/trainjobs")) == 1


def test_a_train_job_that_failed_fails_the_step_with_its_condition_and_the_next_try_makes_it_anew(
    cluster: TrainerServer, trained: Trained, tmp_path: Path
):
    when_made(cluster, lambda job: job.ends("Failed", "DeadlineExceeded", "exceeded its deadline"))
    with pytest.raises(WorkError, match="failed: DeadlineExceeded: exceeded its deadline"):
        trained()
    (failed,) = cluster.jobs.values()
    (tmp_path / FOLDER / "failed.txt").write_text("of the first try", encoding="utf-8")

    def complete(_: Any) -> None:
        wait_for(lambda: failed not in cluster.jobs.values() and bool(cluster.jobs))
        completes(tmp_path)(next(iter(cluster.jobs.values())))

    when_made(cluster, complete)
    assert (trained() / "model.json").is_file()


@pytest.mark.parametrize(("left", "kind"), [("refused.txt", RequestError), ("failed.txt", WorkError)])
def test_what_the_processes_left_is_the_reason(
    cluster: TrainerServer, trained: Trained, tmp_path: Path, left: str, kind: type[Exception]
):
    def fail(job: Any) -> None:
        (tmp_path / FOLDER / left).write_text("the kl became inf", encoding="utf-8")
        job.ends("Failed", "JobsFailed")

    when_made(cluster, fail)
    with pytest.raises(kind, match="the kl became inf"):
        trained()


def test_a_failed_train_job_that_a_finalizer_keeps_fails_the_next_try_in_a_sentence(
    cluster: TrainerServer, trained: Trained, monkeypatch: pytest.MonkeyPatch
):
    when_made(cluster, lambda job: job.ends("Failed", "JobsFailed"))
    with pytest.raises(WorkError, match="JobsFailed"):
        trained()
    (failed,) = cluster.jobs.values()
    failed.body["metadata"]["finalizers"] = ["example.org/quota"]
    monkeypatch.setattr(train_job, "LONGEST_DELETION", 0.05)
    with pytest.raises(WorkError, match=r"still there after .* its finalizers: example\.org/quota;"):
        trained()


def test_a_step_that_is_ended_deletes_the_train_job(cluster: TrainerServer, trained: Trained):
    when_made(cluster, lambda _: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        trained()
    assert not cluster.jobs


def test_a_train_job_that_somebody_deletes_fails_the_step(cluster: TrainerServer, trained: Trained):
    when_made(cluster, lambda _: cluster.jobs.clear())
    with pytest.raises(WorkError, match="was deleted while it was at work"):
        trained()


def silence(cluster: TrainerServer) -> None:
    cluster.faults.refuse("GET", ".*/trainjobs/.*", 503, times=None)


def test_a_busy_cluster_and_a_lost_answer_change_nothing_and_a_silent_one_leaves_the_train_job_to_the_next_try(
    cluster: TrainerServer, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def busy_and_then_complete(job: Any) -> None:
        busy = cluster.faults.refuse("GET", ".*/trainjobs/.*", 503, times=9)
        wait_for(lambda: busy.met == 9)
        completes(tmp_path)(job)

    cluster.faults.reset("POST", ".*/trainjobs")
    when_made(cluster, busy_and_then_complete)
    trained()
    monkeypatch.setattr(train_job, "LONGEST_SILENCE", 0.0)
    when_made(cluster, lambda _: silence(cluster))
    with pytest.raises(WorkError, match=r"the cluster is busy \(503\)"):
        trained()
    assert cluster.jobs


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (404, "the server could not find the requested resource", "needs Kubeflow Trainer 2.2 or newer"),
        (403, "trainjobs is forbidden: User cannot create", "infra/kubernetes/kubeflow gives it the right"),
        (422, "spec.trainer.numNodes: Invalid value", "refuses the TrainJob (422): spec.trainer.numNodes"),
    ],
)
def test_what_the_cluster_refuses_is_a_wrong_request(
    cluster: TrainerServer, trained: Trained, status: int, message: str, said: str
):
    cluster.faults.refuse("POST", ".*/trainjobs", status, message, times=None)
    with pytest.raises(RequestError) as refused:
        trained()
    assert said in str(refused.value)


def test_a_runtime_that_the_cluster_has_not_is_named(cluster: TrainerServer, trained: Trained):
    cluster.runtimes.clear()
    with pytest.raises(RequestError, match='"jax-distributed" not found'):
        trained()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_two_pods_train_one_model(
    cluster: TrainerServer, small_dataset: Path, tmp_path: Path, backend: str, monkeypatch
):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    cluster.executes = True
    small = ["training.epochs=2", "training.batch_size=64", "model.encoder={kind: mlp, hidden: [16]}"]
    pipeline = compiled("kubeflow", volume(tmp_path / "volume"), TWO, f"training.backend={backend}", *small)
    monkeypatch.setenv(TRAIN_JOB, pipeline.environment("train")[TRAIN_JOB])
    inputs = pipeline.tasks["train"].inputs.parameters
    texts = {name: inputs[name].runtime_value.constant.string_value for name in ("architecture", "training")}
    output = tmp_path / "output/model"
    log = ""
    try:
        train_on_machines(
            small_dataset,
            output,
            URI,
            Request(**texts, seed=0, experiment_name="digits", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db"),
        )
    finally:
        log = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "cluster").glob("*.log"))
    found = models.load(output)
    assert len(found.curves["validation"]["elbo"]) == 2, log
    assert found.config == load("digits", small).model


@pytest.mark.slow
def test_a_run_on_kubeflow_trains_by_a_train_job_and_registers_its_model(
    kubeflow: Platform, mlflow_server: str, tmp_path: Path
):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    target = f"volumes: [{{claim: work, mount: {tmp_path / 'volume'}}}], steps: {{train: {{workers: 2}}}}"
    kubeflow.target = f"{kubeflow.target[:-1]}, {target}}}"
    kubeflow.settings |= {"training.backend": "jax", "training.batch_size": "64"}
    with TrainerServer(tmp_path / "cluster") as cluster:
        kubeflow.server.environment["KUBECONFIG"] = str(cluster.kubeconfig)
        try:
            done = kubeflow.run()
        finally:
            del kubeflow.server.environment["KUBECONFIG"]
        assert done.code == 0, done.err
        assert len(cluster.asked("POST", ".*/trainjobs")) == 1
        assert not cluster.jobs
    assert not list((tmp_path / "volume/elboflow").glob("*/train"))
    assert newest_version(mlflow_server)["run_id"]
