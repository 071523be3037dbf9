"""A step that is told to end saves its training, says so by its exit code, and goes on at that very step."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.elboflow.vae.killing import ROOT

SETTINGS = ("training.epochs=100000", "training.early_stopping=null", "training.checkpoints.every_minutes=null")
BY_HAND = "import sys; from pipelines.cli import main; sys.argv[0] = 'elboflow'; main()"
IN_A_PIPELINE = """
import sys
from pipelines.experiment import load
from pipelines.step_process.process import step
from components.train import train
dataset, output, *settings = sys.argv[1:]
wanted = load("digits", settings, None)
with step(output):
    train(dataset, output, wanted.model, wanted.training, wanted.seed)
"""


def started(log: Path, program: str, *arguments: str | Path) -> "subprocess.Popen[bytes]":
    with open(log, "wb") as file:
        return subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=file,
            stderr=file,
        )


def ended_at(process: "subprocess.Popen[bytes]", log: Path) -> int:
    """Tells a process to end as soon as it has trained for a while; returns the step after which it did."""
    while "epoch " not in log.read_text(encoding="utf-8") and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM, log.read_text(encoding="utf-8")
    found = re.search(
        r"interrupted after step (\d+) of \d+; its last checkpoint is .*step-0*\1\b", log.read_text(encoding="utf-8")
    )
    assert found, log.read_text(encoding="utf-8")
    return int(found[1])


@pytest.mark.slow
def test_sigterm_saves_a_training_by_hand_and_in_a_pipeline_and_the_next_try_goes_on_there(
    dataset: Path, tmp_path: Path
):
    output = tmp_path / "model"
    by_hand = ["step", "train", "digits", "--dataset", dataset, "--output", output]
    for setting in SETTINGS:
        by_hand += ["--set", setting]

    first = ended_at(started(tmp_path / "1.txt", BY_HAND, *by_hand), tmp_path / "1.txt")
    assert first > 0
    second = ended_at(started(tmp_path / "2.txt", IN_A_PIPELINE, dataset, output, *SETTINGS), tmp_path / "2.txt")
    told = (tmp_path / "2.txt").read_text(encoding="utf-8")
    assert f"[elboflow] going on after step {first} of" in told
    assert "[elboflow] error: ended by SIGTERM" in told
    assert second > first

    last = started(tmp_path / "3.txt", BY_HAND, *by_hand, "--set", "training.max_minutes=0.0001")
    assert last.wait() == 0, (tmp_path / "3.txt").read_text(encoding="utf-8")
    assert f"going on after step {second} of" in (tmp_path / "3.txt").read_text(encoding="utf-8")
    assert (output / "model.json").exists()
    assert (output / "checkpoints").exists(), "given more time, it would go on"
