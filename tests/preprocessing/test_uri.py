"""Raw data and datasets in a bucket: Cloud Storage's clients against a server that speaks its API."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from preprocessing.pipeline import preprocess
from tests.preprocessing.dataflow_server import DataflowServer, service_account
from tests.preprocessing.raw_files import config, examples, mnist_folder
from tests.servers.storage import StorageServer


@dataclass(frozen=True)
class Buckets:
    """The buckets `raw` and `out` in a folder, and what a process needs to know to find them."""

    folder: Path
    environment: dict[str, str]

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
            yield Buckets(tmp_path / "buckets", {**environment, "GOOGLE_APPLICATION_CREDENTIALS": str(key)})


def test_a_dataset_in_a_bucket_is_what_it_is_on_this_machine(buckets, tmp_path):
    folder = mnist_folder(buckets.folder / "raw/mnist", *examples(200), packed=True)
    near = config({"kind": "idx", "path": str(folder)})
    preprocess(near, tmp_path / "near")
    far = ["digits", "--set", "data.source={kind: idx, path: gs://raw/mnist}", "--output", "gs://out/far"]
    image = "data.features.image={kind: image, shape: [6, 6, 1], range: [0, 255]}"
    for said in ("wrote 200 examples", "reused gs://out/far"):
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
