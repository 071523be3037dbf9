"""Raw data and datasets in a bucket: Cloud Storage's clients against a server that speaks its API."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from elboflow.testing.platforms.faults import Fault
from elboflow.testing.platforms.storage import StorageServer
from preprocessing.config import DataConfig
from preprocessing.pipeline import preprocess
from tests.preprocessing.dataflow_server import DataflowServer, service_account
from tests.preprocessing.raw_files import config, examples, mnist_folder

IMAGE = {"kind": "image", "shape": [6, 6, 1], "range": [0, 255]}


@dataclass(frozen=True)
class Buckets:
    """Cloud Storage with the buckets `raw` and `out`, and what a process needs to know to find them."""

    storage: StorageServer
    environment: dict[str, str]

    @property
    def folder(self) -> Path:
        return self.storage.folder

    def elboflow(self, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
        """Runs a command in a process of its own: Beam keeps the credentials that it found first."""
        command = [sys.executable, "-m", "pipelines", *arguments]
        return subprocess.run(
            command, cwd=cwd, env=self.environment, capture_output=True, encoding="utf-8", timeout=300
        )


@pytest.fixture
def buckets(tmp_path: Path) -> Iterator[Buckets]:
    with StorageServer(tmp_path / "buckets", "raw", "out") as storage:
        environment = {**os.environ, "STORAGE_EMULATOR_HOST": storage.url, "PYTHONPATH": str(Path.cwd())}
        environment["GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED"] = "false"
        with DataflowServer(environment) as google:
            key = service_account(tmp_path / "buckets", f"{google.url}/token")
            yield Buckets(storage, {**environment, "GOOGLE_APPLICATION_CREDENTIALS": str(key)})


@pytest.mark.slow
def test_a_dataset_in_a_bucket_is_what_it_is_on_this_machine(buckets, tmp_path):
    folder = mnist_folder(buckets.folder / "raw/mnist", *examples(200), packed=True)
    near = config({"kind": "idx", "path": str(folder)})
    preprocess(near, tmp_path / "near")
    far = ["digits", "--set", "data.source={kind: idx, path: gs://raw/mnist}", "--output", "gs://out/far"]
    image = "data.features.image={kind: image, shape: [6, 6, 1], range: [0, 255]}"
    for said in ("wrote 200 examples", "made already in gs://out/far"):
        done = buckets.elboflow("step", "preprocess", *far, "--set", image, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "gs://out/far\n"), done.stderr
        assert said in done.stderr
    names = sorted(path.name for path in (tmp_path / "near").iterdir())
    assert sorted(path.name for path in (buckets.folder / "out/far").iterdir()) == names
    for name in names:
        assert (tmp_path / "near" / name).read_bytes() == (buckets.folder / "out/far" / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["buckets", "near"]


@pytest.mark.slow
def test_a_dataset_in_a_bucket_can_be_trained_on(buckets, tmp_path):
    assert buckets.elboflow("step", "preprocess", "digits", "--output", "gs://out/far", cwd=tmp_path).returncode == 0
    small = ["--set", "training.max_steps=5", "--set", "model.encoder.hidden=[8]", "--set", "model.decoder.hidden=[8]"]
    done = buckets.elboflow(
        "step", "train", "digits", "--dataset", "gs://out/far", "--output", "model", *small, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model/model.json").is_file()


def preprocess_from(
    uri: str, cwd: Path, environment: dict[str, str], output: str = "out"
) -> "tuple[subprocess.CompletedProcess[str], float]":
    """Runs the preprocessing of an npz; returns how it ended, and how many seconds it took."""
    begun = time.monotonic()
    data = json.dumps({"source": {"kind": "npz", "path": uri}, "features": {"image": IMAGE}})
    command = [sys.executable, "-m", "pipelines", "step", "preprocess", "digits", "--set", f"data={data}"]
    done = subprocess.run(
        [*command, "--output", output], cwd=cwd, env=environment, capture_output=True, encoding="utf-8", timeout=100
    )
    return done, time.monotonic() - begun


@pytest.mark.slow
@pytest.mark.parametrize("server", ["absent", "silent"])
def test_a_bucket_that_gives_no_answer_is_given_up_within_seconds(server, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "NO_GCE_CHECK": "true", "HOME": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if server == "absent":
            listening.close()
        environment["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{port}"
        done, seconds = preprocess_from("gs://raw/x.npz", tmp_path, environment)
    assert done.returncode == 1
    assert seconds < 40  # of which imports take half on a busy machine
    *waiting, error = done.stderr.splitlines()
    assert waiting in ([], ["waiting for gs://raw: no answer for 10 s"])
    assert error.startswith("error: gs://raw cannot be reached: ")
    assert list(tmp_path.iterdir()) == []


def test_a_file_or_bucket_that_is_not_there_is_told_in_a_line(buckets, tmp_path):
    for uri in ("gs://raw/x.npz", "gs://absent/x.npz"):
        done, _ = preprocess_from(uri, tmp_path, buckets.environment)
        assert (done.returncode, done.stderr) == (2, f"error: data.source: there is no file {uri}\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "code", "said"),
    [
        ("GET", "/storage/v1/b/raw/o/.*", 2, "gs://raw/x.npz cannot be used: 403 Forbidden, "),
        ("GET", "/download/.*x.npz", 1, "gs://raw/x.npz cannot be used: 403 Forbidden, "),
        ("POST", "/upload/storage/v1/b/out/.*", 1, "gs://out/far/.* cannot be used: 403 Forbidden, "),
    ],
    ids=["all of it", "reading", "writing"],
)
def test_what_an_account_may_not_do_is_told_in_a_line(method, path, code, said, buckets, tmp_path):
    np.savez(buckets.folder / "raw/x.npz", image=examples(100)[0])
    buckets.storage.faults.inject(Fault(method, path, 403, "it is not yours", times=None))
    done, _ = preprocess_from("gs://raw/x.npz", tmp_path, buckets.environment, output="gs://out/far")
    assert done.returncode == code
    assert re.fullmatch(f"error: {said}.*it is not yours\n", done.stderr), done.stderr
    assert not [path for path in (buckets.folder / "out").rglob("*") if path.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_in_a_bucket_are_read_by_pattern_and_what_is_rejected_is_listed_there(kind, buckets, tmp_path):
    for number in range(3):
        sizes = [number * 200 + row + 0.5 for row in range(200)]
        table = pa.table({"size": [None, *sizes[1:]], "code": [row % 3 for row in range(200)]})
        path = buckets.folder / f"raw/part-{number}.{kind}"
        write = csv.write_csv if kind == "csv" else parquet.write_table
        write(table, str(path))
    features = {"size": "number", "code": "category"}
    source = {"kind": kind, "path": f"gs://raw/part-*.{kind}"}
    near = {**source, "path": str(buckets.folder / f"raw/part-*.{kind}")}
    preprocess(DataConfig.model_validate({"source": near, "features": features}), tmp_path / "near")
    code = (
        "import sys; from preprocessing.config import DataConfig; from preprocessing.pipeline import preprocess;"
        "preprocess(DataConfig.model_validate_json(sys.argv[1]), 'gs://out/far')"
    )
    far = json.dumps({"source": source, "features": features})
    command = [sys.executable, "-c", code, far]
    done = subprocess.run(command, env=buckets.environment, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "near").iterdir())
    assert "rejected.jsonl" in names
    assert sorted(path.name for path in (buckets.folder / "out/far").iterdir()) == names
    for name in names:
        assert (tmp_path / "near" / name).read_bytes() == (buckets.folder / "out/far" / name).read_bytes()
