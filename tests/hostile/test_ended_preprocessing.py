"""A preprocessing that is ended at any moment, or runs out of room: nothing half-written, nothing left behind."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from preprocessing.reader import open_dataset
from tests import disks

SETTINGS = [
    "--set",
    "data.features={image: {kind: image, shape: [28, 28, 1], range: [0, 255]}, label: category}",
    "--set",
    "data.shards.megabytes=1",
]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw data whose preprocessing takes a second."""
    path = tmp_path_factory.mktemp("raw") / "raw.npz"
    noise = np.random.default_rng(0)
    np.savez_compressed(path, image=noise.integers(0, 256, (20_000, 28, 28), np.uint8), label=np.arange(20_000) % 10)
    return path


def start(raw: Path, output: Path, temporary: Path) -> "subprocess.Popen[str]":
    temporary.mkdir(exist_ok=True)
    source = ["--set", f"data.source={{kind: npz, path: {raw}}}"]
    command = [sys.executable, "-m", "pipelines", "step", "preprocess", "digits", "--output", output]
    streams = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    environment = {**os.environ, "TMPDIR": str(temporary)}
    return subprocess.Popen([*command, *source, *SETTINGS], env=environment, **streams)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def contents_of_files(folder: Path) -> dict[str, bytes]:
    """What a folder holds, but for the folders in it, which attempts have."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def undisturbed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset."""
    output = tmp_path_factory.mktemp("undisturbed") / "dataset"
    process = start(raw, output, output.with_name("temporary"))
    _, said = process.communicate()
    assert process.returncode == 0, said
    return contents(output)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_whatever_ends_it_the_next_command_leaves_the_dataset_and_nothing_else(how, raw, undisturbed, tmp_path):
    output, temporary, moments = tmp_path / "dataset", tmp_path / "temporary", random.Random(how)
    for _ in range(3):
        process = start(raw, output, temporary)
        while not list(output.glob(".attempt-*")) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 1.0))
        process.send_signal(how)
        _, said = process.communicate()
        assert process.returncode in (-how, 128 + how, 0), said
        assert "Traceback" not in said
        left = contents_of_files(output)
        if "dataset.json" in left:  # it was ended after the commit
            assert {name: left[name] for name in undisturbed} == undisturbed
        if how != signal.SIGKILL:
            assert [path for path in output.iterdir() if path.name.startswith(".")] == []
            assert list(temporary.iterdir()) == []
    process = start(raw, output, temporary)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert contents(output) == undisturbed
    assert list(temporary.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "disk", "24m") as folder:
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [0, 10, 23], ids=lambda megabytes: f"{megabytes} MB taken")
def test_a_disk_without_room_is_told_and_holds_nothing_afterwards(megabytes, raw, small_disk, tmp_path):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(megabytes << 20))  # batches and shards are 32 MB; the disk has 24
    process = start(raw, small_disk / "dataset", tmp_path / "temporary")
    _, said = process.communicate()
    assert process.returncode == 1, said
    assert said.count("\n") == 1, said
    assert "No space left on device" in said
    assert list((small_disk / "dataset").iterdir()) == []
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
def test_a_disk_without_room_keeps_the_dataset_that_was_there(raw, small_disk, tmp_path):
    few = np.random.default_rng(1).integers(0, 256, (500, 28, 28), np.uint8)
    np.savez(tmp_path / "few.npz", image=few, label=np.arange(500) % 10)
    assert start(tmp_path / "few.npz", small_disk / "dataset", tmp_path / "temporary").wait() == 0
    before = contents(small_disk / "dataset")
    (small_disk / "ballast").write_bytes(bytes(20 << 20))
    process = start(raw, small_disk / "dataset", tmp_path / "temporary")
    _, said = process.communicate()
    assert process.returncode == 1, said
    left = contents(small_disk / "dataset")
    assert left == before or "dataset.json" not in left
    assert not [name for name in left if name.startswith(".")]
    if "dataset.json" in left:
        open_dataset(small_disk / "dataset").read("train")
