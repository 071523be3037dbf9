"""The training benchmark stays runnable: who races whom, the counted operations, and turns that are taken in turn."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.training.__main__ import compared
from benchmarks.training.data import Data
from benchmarks.training.flops import PEAKS, peak, training_flops
from benchmarks.training.race import ROOT, Result, Side, race
from benchmarks.training.rows import Row, rows
from benchmarks.training.setting import BATCH, COLOUR_IMAGE, IMAGE, MLP_SIZES, convolutional, mlp
from tests.elboflow.vae.given import image

DATA = Data(Path("dataset"), Path("images.npy"), 54_000, 54_000 * 784)


OURS, OTHER = Side("ours", "product"), Side("other", "keras_fit")


@pytest.mark.parametrize(
    ("row", "speeds", "met"),
    [
        (Row("race", "row", OURS, OTHER, target=1.5), (160.0, 100.0), True),
        (Row("race", "row", OURS, OTHER, target=1.5), (140.0, 100.0), False),
        (Row("race", "row", OURS, OTHER, most_time=0.08), (95.0, 100.0), True),
        (Row("race", "row", OURS, OTHER, most_time=0.08), (90.0, 100.0), False),
        (Row("race", "row", OURS, OTHER), (90.0, 100.0), None),
    ],
)
def test_a_target_is_met_by_the_ratio_of_the_speeds_or_by_the_time_beyond(
    row: Row, speeds: tuple[float, float], met: bool | None
):
    results = {side: Result((speed,) * 3, {}) for side, speed in zip((OURS, OTHER), speeds, strict=True)}
    assert compared(row, results).met is met


def test_every_side_is_a_program_that_exists():
    for row in rows(DATA, DATA, "python", 4, True):
        for side in (row.ours, row.other):
            assert (ROOT / "benchmarks" / "training" / f"{side.module}.py").is_file(), side


def test_a_gpu_adds_rows_in_bfloat16_without_targets():
    more = set(rows(DATA, DATA, "python", 4, True)) - set(rows(DATA, DATA, "python", 4, False))
    assert {row.target for row in more} == {None}
    assert all("bfloat16" in row.ours.arguments for row in more)


def test_the_operations_of_the_mlp_are_those_of_its_kernels():
    kernels = sum(inputs * outputs for inputs, outputs in MLP_SIZES)
    assert training_flops(mlp(), IMAGE) == 6 * kernels - 2 * 784 * 200


@pytest.mark.xdist_group("tensorflow")
def test_the_operations_of_the_convolutional_model_are_those_of_its_layers():
    from elboflow.vae import compute

    compute.use("tensorflow")
    import keras

    def multiplications(layer: keras.layers.Layer) -> int:
        match layer:
            case keras.layers.Conv2DTranspose():
                return int(np.prod(layer.kernel.shape) * np.prod(layer.input.shape[1:3]))
            case keras.layers.Conv2D():
                return int(np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:3]))
            case keras.layers.Dense():
                return int(np.prod(layer.kernel.shape))
        return 0

    model = convolutional().build(image(COLOUR_IMAGE, 256))
    counted = [multiplications(layer) for network in (model.encoder, model.decoder) for layer in network.layers]
    first = next(filter(None, counted))
    assert training_flops(convolutional(), COLOUR_IMAGE) == 6 * sum(counted) - 2 * first


def test_a_device_has_a_peak_by_its_name_or_none():
    assert peak("NVIDIA H100 80GB HBM3", "bfloat16") == 989.4e12
    assert peak("Tesla T4", "float32") == 8.1e12
    assert peak("TPU v5 lite", "bfloat16") == PEAKS["TPU v5 lite"][1]
    assert peak("cpu", "float32") is None


SIDE = """
from benchmarks.training.turns import Turns
turns = Turns()
print("noise of a library")
while True:
    turns.done(100, device="abacus")
"""


def test_sides_take_turns_and_what_libraries_print_is_no_report(tmp_path, monkeypatch):
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{SIDE}'\n", encoding="utf-8")
    interpreter.chmod(0o755)
    one, other = (Side(name, "nothing", python=str(interpreter)) for name in ("one", "other"))
    results = race([one, other], rounds=3)
    assert [len(results[side].speeds) for side in (one, other)] == [3, 3]
    assert results[one].facts == {"device": "abacus"}


def test_a_side_that_fails_ends_the_race_with_its_last_words():
    with pytest.raises(RuntimeError, match=r"the broken one ended with 1:\n(?s:.*)No module named"):
        race([Side("the broken one", "no_such_module")], rounds=1)


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_the_bare_loops_learn(tmp_path, framework):
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    program = f"""
import json, numpy as np
from benchmarks.training.bare_{framework} import Training
images = np.tile(np.random.default_rng(0).integers(0, 2, (16, 784), dtype=np.uint8) * 255, (64, 1))
rows = np.random.default_rng(0).integers(0, len(images), (60, {BATCH})).astype(np.int32)
print(json.dumps(Training(images).epoch(rows).tolist()))
"""
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads that spin while others work make a busy machine crawl
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, encoding="utf-8", check=True)
    measures = np.array(json.loads(done.stdout.splitlines()[-1]))
    loss, reconstruction, kl, norm = measures.T
    assert loss[0] == pytest.approx(544, abs=40)  # 784 fair coins: 784 log 2
    assert loss[-5:].mean() < 0.75 * loss[0]
    np.testing.assert_allclose(loss, kl - reconstruction, rtol=1e-4)
    assert (norm > 0).all()
