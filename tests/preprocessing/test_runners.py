"""Where the graph runs is no matter to the dataset: a portable job server's real client, and Dataflow's."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from preprocessing.pipeline import preprocess
from preprocessing.runners import DataflowRunner, FlinkRunner
from settings import RequestError, WorkError
from tests.preprocessing.raw_files import config, examples, mnist_folder
from tests.preprocessing.test_pipeline import contents

FLINK = FlinkRunner(job_server="localhost:1", pool="localhost:1")
BEAM = "apache_beam.runners"


@contextlib.contextmanager
def served(log: Path, module: str, port: int, *arguments: str) -> Iterator[str]:
    """Runs one of Beam's servers in a process of its own, in a folder of its own."""
    log.parent.mkdir(exist_ok=True)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with log.open("w") as output:
        command = [sys.executable, "-m", f"{BEAM}.{module}", *arguments]
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=log.parent)
    try:
        deadline = time.monotonic() + 60
        while not _listening(port):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield f"localhost:{port}"
    finally:
        server.terminate()
        server.wait(20)


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkRunner]:
    """Beam's own job server, which speaks the Job API as Flink's does, and a pool of workers in another process."""
    folder = tmp_path_factory.mktemp("cluster")
    jobs, pool = free_port(), free_port()
    with (
        served(folder / "jobs/log", "portability.local_job_service_main", jobs, "--job_port", str(jobs)) as job_server,
        served(folder / "pool/log", "worker.worker_pool_main", pool, f"--service_port={pool}") as workers,
    ):
        yield FlinkRunner(job_server=job_server, pool=workers)


@pytest.fixture
def raw(tmp_path: Path):
    """A config of two parts, each in several work units' worth of files, whose held-out part leaks into the other."""
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


@pytest.mark.xdist_group("beam-cluster")
def test_workers_may_write_to_a_volume_that_is_not_the_datasets(cluster, raw, tmp_path):
    shared = tmp_path / "volume"
    preprocess(raw, tmp_path / "direct")
    preprocess(raw, tmp_path / "cluster", runner=cluster.model_copy(update={"temporary": str(shared)}))
    assert contents(tmp_path / "cluster") == contents(tmp_path / "direct")
    assert list(shared.iterdir()) == []


@pytest.mark.xdist_group("beam-cluster")
def test_damaged_data_are_told_in_the_same_words_from_a_cluster(cluster, raw, tmp_path):
    images = Path(raw.source.path) / "train-images-idx3-ubyte"
    images.write_bytes(b"\0\0\7\3" + images.read_bytes()[4:])
    told = []
    for runner in (cluster, None):
        with pytest.raises(WorkError) as caught:
            preprocess(raw, tmp_path / "out", **({"runner": runner} if runner else {}))
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert list((tmp_path / "out").iterdir()) == []
