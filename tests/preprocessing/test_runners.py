"""Where the graph runs is no matter to the dataset: a portable job server's real client, and Dataflow's."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from elboflow.settings import RequestError, WorkError
from elboflow.testing.platforms.storage import StorageServer
from elboflow.testing.platforms.wire import free_port
from preprocessing.config import DataConfig
from preprocessing.engines.dataflow import Dataflow
from preprocessing.engines.direct import Direct
from preprocessing.engines.flink import Flink
from preprocessing.pipeline import preprocess
from tests.preprocessing.dataflow_server import DataflowServer, service_account
from tests.preprocessing.raw_files import config, examples, mnist_folder
from tests.preprocessing.test_pipeline import contents

FLINK = Flink(job_server="localhost:1", pool="localhost:1")
DATAFLOW = Dataflow(
    project="elbo-test",
    region="europe-west4",
    temporary="gs://out/temporary",
    image="europe-docker.pkg.dev/elbo-test/images/cpu@sha256:0",
    workers=7,
    machine="n2-standard-4",
    service_account="workers@elbo-test.iam.gserviceaccount.com",
    subnetwork="regions/europe-west4/subnetworks/workers",
    public_addresses=False,
    encryption_key="projects/elbo-test/locations/europe-west4/keyRings/r/cryptoKeys/k",
)
BEAM = "apache_beam.runners"


@contextlib.contextmanager
def served(log: Path, module: str, port: int, *arguments: str) -> Iterator[str]:
    """Runs one of Beam's servers in a process of its own, in a folder of its own."""
    log.parent.mkdir(exist_ok=True)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with log.open("w", encoding="utf-8") as output:
        command = [sys.executable, "-m", f"{BEAM}.{module}", *arguments]
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=log.parent)
    try:
        deadline = time.monotonic() + 60
        while not _listening(port):
            assert server.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.05)
        yield f"localhost:{port}"
    finally:
        server.terminate()
        server.wait(20)


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flink]:
    """Beam's own job server, which speaks the Job API as Flink's does, and a pool of workers in another process."""
    folder = tmp_path_factory.mktemp("cluster")
    jobs, pool = free_port(), free_port()
    with (
        served(folder / "jobs/log", "portability.local_job_service_main", jobs, "--job_port", str(jobs)) as job_server,
        served(folder / "pool/log", "worker.worker_pool_main", pool, f"--service_port={pool}") as workers,
    ):
        yield Flink(job_server=job_server, pool=workers)
        assert "Starting worker with command" in (folder / "pool/log").read_text(
            encoding="utf-8"
        )  # the workers were elsewhere


@pytest.fixture
def raw(tmp_path: Path):
    """A config whose held-out part leaks into the other."""
    images, labels = examples(600)
    folder = mnist_folder(tmp_path / "raw", images, labels)
    mnist_folder(folder, images[:50], labels[:50], part="t10k")
    splits = {"train": 0.8, "validation": 0.2, "test": "source"}
    return config({"kind": "idx", "path": str(folder)}, splits=splits, shards={"megabytes": 0.02})


@pytest.mark.xdist_group("beam-cluster")
def test_a_job_server_and_workers_elsewhere_make_the_same_bytes(cluster, raw, tmp_path):
    direct = preprocess(raw, tmp_path / "direct").manifest
    made = preprocess(raw, tmp_path / "cluster", runner=cluster).manifest
    assert made == direct
    assert len(contents(tmp_path / "direct")) > 4
    assert contents(tmp_path / "cluster") == contents(tmp_path / "direct")


@pytest.mark.slow
@pytest.mark.xdist_group("beam-cluster")
def test_workers_may_write_to_a_volume_that_is_not_the_datasets(cluster, raw, tmp_path):
    shared = tmp_path / "volume"
    preprocess(raw, tmp_path / "direct")
    preprocess(raw, tmp_path / "cluster", runner=cluster.model_copy(update={"temporary": str(shared)}))
    assert contents(tmp_path / "cluster") == contents(tmp_path / "direct")
    assert list(shared.iterdir()) == []


@pytest.mark.xdist_group("beam-cluster")
def test_damaged_data_are_told_in_the_same_words_from_a_cluster(cluster, tmp_path):
    folder = mnist_folder(tmp_path / "raw", *examples(600), packed=True)
    images = folder / "train-images-idx3-ubyte.gz"
    content = images.read_bytes()
    images.write_bytes(content[:-8] + b"\0\0\0\0" + content[-4:])  # its CRC, which only a worker looks at
    told = []
    for runner in (Direct(), cluster):
        with pytest.raises(WorkError) as caught:
            preprocess(config({"kind": "idx", "path": str(folder)}), tmp_path / "out", runner=runner)
        told.append(str(caught.value))
    assert "is corrupted" in told[0]
    assert told[0] == told[1]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.xdist_group("beam-cluster")
def test_a_job_without_workers_fails_with_the_clusters_last_words(cluster, raw, tmp_path):
    with pytest.raises(WorkError, match=r"the job elboflow-\w{12}-\w{8} failed \(Flink, localhost:\d+\): "):
        preprocess(raw, tmp_path / "out", runner=cluster.model_copy(update={"pool": "localhost:1"}))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("server", "told"),
    [("localhost:1", "no Flink job server answers at localhost:1"), ("localhost:99999", "localhost:99999")],
)
def test_an_absent_job_server_is_told_at_once(raw, tmp_path, server, told):
    with pytest.raises(WorkError, match=told):
        preprocess(raw, tmp_path / "out", runner=FLINK.model_copy(update={"job_server": server}))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_path_that_workers_elsewhere_cannot_read_is_refused_before_anything_runs(raw, tmp_path, monkeypatch):
    out, path = tmp_path / "out", raw.source.path
    with pytest.raises(RequestError, match=f"Dataflow's workers cannot read {path}/train-images-idx3-ubyte"):
        preprocess(raw, out, runner=DATAFLOW)
    monkeypatch.chdir(tmp_path)
    near = raw.model_copy(update={"source": raw.source.model_copy(update={"path": "raw"})})
    with pytest.raises(RequestError, match=r"cannot read raw/train-images-idx3-ubyte.* an absolute path on a volume"):
        preprocess(near, out, runner=FLINK)
    assert not out.exists()


def test_a_path_below_vertex_ais_mount_is_told_by_its_bucket():
    with pytest.raises(RequestError, match=r"cannot read /gcs/raw/mnist.npz, .*; write gs://raw/mnist.npz"):
        DATAFLOW.check(["/gcs/raw/mnist.npz"], "gs://bucket/out")
    assert DATAFLOW.output_of("/gcs/bucket/datasets/1") == "gs://bucket/datasets/1"
    assert FLINK.output_of("/gcs/bucket/datasets/1") == "/gcs/bucket/datasets/1"


def test_dataflow_says_what_it_needs_to_know(tmp_path):
    digits = DataConfig.model_validate({"source": "sklearn"})
    with pytest.raises(RequestError, match=r"runner.region, runner.image: missing; Dataflow needs to know"):
        preprocess(digits, tmp_path / "out", runner=DATAFLOW.model_copy(update={"region": None, "image": None}))
    assert not (tmp_path / "out").exists()


def test_dataflow_without_credentials_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # this is no machine of Google's
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(RequestError, match=r"no Application Default Credentials; .* `gcloud auth"):
        preprocess(DataConfig.model_validate({"source": "sklearn"}), tmp_path / "out", runner=DATAFLOW)
    assert not (tmp_path / "out").exists()


@dataclass(frozen=True)
class Cloud:
    """Buckets in a folder, Dataflow, and what a process needs to know to find them."""

    buckets: Path
    dataflow: DataflowServer
    environment: dict[str, str]

    def preprocess(self, settings: DataConfig, output: str, runner: Dataflow) -> "subprocess.CompletedProcess[str]":
        """Runs a preprocessing in a process of its own: Beam keeps the credentials that it found first."""
        code = (
            "import sys; from preprocessing.config import DataConfig;"
            "from preprocessing.engines.dataflow import Dataflow;"
            "from preprocessing.pipeline import preprocess;"
            "preprocess(DataConfig.model_validate_json(sys.argv[1]), sys.argv[2],"
            " runner=Dataflow.model_validate_json(sys.argv[3]))"
        )
        command = [sys.executable, "-c", code, settings.model_dump_json(), output, runner.model_dump_json()]
        return subprocess.run(command, env=self.environment, capture_output=True, encoding="utf-8", timeout=180)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with StorageServer(tmp_path / "buckets", "raw", "out") as storage:
        environment = {**os.environ, "STORAGE_EMULATOR_HOST": storage.url, "PYTHONPATH": "."}
        environment["GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED"] = "false"
        with DataflowServer(environment) as dataflow:
            key = service_account(tmp_path, f"{dataflow.url}/token")
            environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(key)
            yield Cloud(tmp_path / "buckets", dataflow, environment)


@pytest.mark.slow
@pytest.mark.xdist_group("beam-cluster")
def test_what_is_submitted_to_dataflow_makes_the_same_bytes_on_the_machines_asked_for(cloud, raw, tmp_path):
    preprocess(raw, tmp_path / "direct")
    shutil.copytree(raw.source.path, cloud.buckets / "raw/mnist")
    far = raw.model_copy(update={"source": raw.source.model_copy(update={"path": "gs://raw/mnist"})})
    runner = DATAFLOW.model_copy(update={"endpoint": cloud.dataflow.url})
    done = cloud.preprocess(far, "/gcs/out/dataset", runner)
    assert done.returncode == 0, done.stderr
    assert contents(cloud.buckets / "out/dataset") == contents(tmp_path / "direct")
    (job,) = cloud.dataflow.jobs.values()
    environment, (pool,) = job["environment"], job["environment"]["workerPools"]
    assert re.fullmatch("elboflow-[0-9a-f]{12}-[0-9a-f]{8}", job["name"])
    assert environment["serviceAccountEmail"] == runner.service_account
    assert environment["serviceKmsKeyName"] == runner.encryption_key
    assert environment["tempStoragePrefix"].startswith("storage.googleapis.com/out/temporary/dataflow/")
    assert pool["machineType"] == runner.machine
    assert pool["autoscalingSettings"]["maxNumWorkers"] == runner.workers
    assert (pool["subnetwork"], pool["ipConfiguration"]) == (runner.subnetwork, "WORKER_IP_PRIVATE")
    assert [image["containerImage"] for image in pool["sdkHarnessContainerImages"]] == [runner.image]
    assert not pool.get("packages")
    asked = cloud.dataflow.asked("POST", "/v1b3/projects/elbo-test/locations/europe-west4/jobs")
    assert len(asked) == 1


@pytest.mark.slow
@pytest.mark.xdist_group("beam-cluster")
def test_a_dataflow_job_that_fails_is_told_with_its_last_words_and_leaves_no_dataset(cloud):
    (cloud.buckets / "raw/mnist").mkdir()
    mnist_folder(cloud.buckets / "raw/mnist", *examples(100))
    cloud.dataflow.broken = True
    source = {"kind": "idx", "path": "gs://raw/mnist"}
    done = cloud.preprocess(
        config(source), "gs://out/dataset", DATAFLOW.model_copy(update={"endpoint": cloud.dataflow.url})
    )
    assert done.returncode == 1
    assert "elboflow.settings.errors.WorkError: the job elboflow-" in done.stderr
    assert "(Dataflow, elbo-test, europe-west4): Workflow failed: the zone is out of machines" in done.stderr
    assert [
        path for path in (cloud.buckets / "out").rglob("*") if path.is_file() and "dataflow" not in path.parts
    ] == []


# A step of a pipeline on a platform, which submits a graph that takes half a minute.
STEP = """
import sys, time
from pipelines.step_process.process import step
with step(sys.argv[1] + "/dataset"):
    import apache_beam as beam
    from preprocessing.engines.dataflow import Dataflow
    from preprocessing.engines.flink import Flink
    runner = {"flink": Flink, "dataflow": Dataflow}[sys.argv[2]].model_validate_json(sys.argv[3])
    def sleep(seconds):
        import time
        time.sleep(seconds)
    runner.run(1, "elboflow-1", lambda pipeline: pipeline | beam.Create([30]) | beam.Map(sleep))
"""


def terminated(folder: Path, runner: Flink | Dataflow, environment: dict[str, str]) -> str:
    """Runs that step, sends it a SIGTERM when its job is submitted, and returns what it said."""
    command = [sys.executable, "-c", STEP, str(folder), runner.kind, runner.model_dump_json()]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, **streams) as process:
        said = ""
        while "submitted the job elboflow-1-" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        process.terminate()
        said += process.stdout.read()
    assert process.returncode == 143, said
    assert said.endswith("[elboflow] error: ended by SIGTERM, as when the machine is taken away\n")
    return said


@pytest.mark.xdist_group("beam-cluster")
def test_a_step_that_is_terminated_cancels_its_dataflow_job(cloud, tmp_path):
    cloud.dataflow.endless = True
    said = terminated(tmp_path, DATAFLOW.model_copy(update={"endpoint": cloud.dataflow.url}), cloud.environment)
    assert "[elboflow] cancelling the job elboflow-1-" in said
    assert cloud.dataflow.states == ["JOB_STATE_CANCELLED"]


@pytest.mark.xdist_group("beam-cluster")
def test_a_job_that_cannot_be_cancelled_is_named_with_its_place(cloud, tmp_path):
    cloud.dataflow.endless = True
    cloud.dataflow.faults.refuse("PUT", "/v1b3/.*", 403, times=None)
    said = terminated(tmp_path, DATAFLOW.model_copy(update={"endpoint": cloud.dataflow.url}), cloud.environment)
    assert re.search(r"could not cancel the job elboflow-1-\w+, .* by hand \(Dataflow, elbo-test, europe-west4\)", said)
    assert cloud.dataflow.states == ["JOB_STATE_RUNNING"]


@pytest.mark.slow
@pytest.mark.xdist_group("beam-cluster")
def test_a_step_that_is_terminated_cancels_its_job_on_a_job_server(cluster, tmp_path):
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

    said = terminated(tmp_path, cluster, {**os.environ, "PYTHONPATH": "."})
    assert "[elboflow] cancelling the job elboflow-1-" in said
    with grpc.insecure_channel(cluster.job_server) as channel:
        jobs = beam_job_api_pb2_grpc.JobServiceStub(channel).GetJobs(beam_job_api_pb2.GetJobsRequest()).job_info
    assert beam_job_api_pb2.JobState.Enum.Name(jobs[-1].state) == "CANCELLED"
