"""Trainings as processes that are killed and started again, until they are done."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[3]
STEPS_OF_EPOCH = 24

Moment = Callable[["Process"], None]
"""Returns when the process is to be killed, or has ended."""


class Process:
    """A training in a process of its own, in groups of steps of a given length.

    Args:
        folder: For its checkpoints and what it leaves.
        backend: The framework.
        epochs: How long it trains.
        seconds_per_call: About how long a compiled call takes.
        settings: More of its section `training`.
    """

    def __init__(
        self, folder: Path, backend: str, epochs: int, seconds_per_call: float = 0.05, **settings: Any
    ) -> None:
        self.folder = folder
        training = {
            "backend": backend,
            "epochs": epochs,
            "batch_size": 64,
            "early_stopping": {"patience": epochs},
            "checkpoints": {"every_steps": STEPS_OF_EPOCH // 2},
            **settings,
        }
        request = {"folder": str(folder), "seconds_per_call": seconds_per_call, "training": training}
        folder.mkdir(exist_ok=True)
        self.log = folder / "log.txt"
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("training_process.py")), json.dumps(request)],
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )

    def has_ended(self) -> bool:
        """Whether the process is no more."""
        return self.process.poll() is not None

    def last_step(self) -> int:
        """The step of the newest checkpoint; 0 where there is none."""
        found = (self.folder / "checkpoints").glob("step-*/checkpoint.json")
        return max((int(manifest.parent.name.removeprefix("step-")) for manifest in found), default=0)

    def kill(self) -> bool:
        """Kills the process; returns False where it had ended by itself before."""
        self.process.send_signal(signal.SIGKILL)
        return self.process.wait() == -signal.SIGKILL

    def finish(self) -> "End":
        """Waits for the training to end, and returns how it did."""
        code = self.process.wait()
        assert code == 0, f"exit code {code}:\n{self.log.read_text(encoding='utf-8')}"
        return End(self.folder)


class End:
    """The end of a training: all variables of model and optimizer, and what early stopping kept; and the curves."""

    def __init__(self, folder: Path) -> None:
        curves = json.loads((folder / "curves.json").read_text(encoding="utf-8"))
        self.curves = {"train": curves["train"], "validation": curves["validation"]}
        newest = max((folder / "checkpoints").glob("step-*"))
        assert int(newest.name.removeprefix("step-")) == curves["train"]["step"][-1]
        with np.load(newest / "state.npz") as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}


def assert_same(one: End, other: End) -> None:
    """Checks that two trainings ended with the same bits."""
    assert one.curves == other.curves
    assert list(one.arrays) == list(other.arrays)
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name], err_msg=name)


def in_start_up(chance: random.Random) -> Moment:
    """A moment before a process's first checkpoint, or at it: a machine that starts fast does not train for seconds."""
    delay = chance.uniform(0, 8)

    def wait(process: Process) -> None:
        begun, end = process.last_step(), time.monotonic() + delay
        while time.monotonic() < end and process.last_step() == begun and not process.has_ended():
            time.sleep(0.002)

    return wait


def at_work(chance: random.Random) -> Moment:
    """A moment soon after a process has written one to three checkpoints: in a step, a validation or another one."""
    checkpoints, delay = chance.randint(1, 3), chance.uniform(0, 0.05)

    def wait(process: Process) -> None:
        begun = process.last_step()
        while process.last_step() < begun + checkpoints * STEPS_OF_EPOCH // 2 and not process.has_ended():
            time.sleep(0.002)
        time.sleep(delay)

    return wait


def finished_in_spite_of(moments: list[Moment], start: Callable[[], Process]) -> End:
    """Starts a training again and again, kills it at each of these moments, and lets it end at last."""
    for moment in moments:
        process = start()
        moment(process)
        assert process.kill(), f"it ended before it was to be killed:\n{process.log.read_text(encoding='utf-8')}"
    return start().finish()
