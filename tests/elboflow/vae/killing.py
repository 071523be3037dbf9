"""Trainings as processes that are killed and started again, until they are done."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[3]
STEPS_OF_EPOCH = 24


@dataclass(frozen=True)
class Moment:
    """When a process kills itself, from a thread, so that a busy machine makes no difference.

    Attributes:
        steps: After a checkpoint of so many steps more than there were when it began, or of more.
        delay: And then so many seconds later.
        latest: Seconds after its start, at the latest; None: whenever that is.
    """

    steps: int
    delay: float = 0.0
    latest: float | None = None


class Process:
    """A training in a process of its own, in groups of steps of a given length.

    Args:
        folder: For its checkpoints and what it leaves.
        backend: The framework.
        epochs: How long it trains.
        seconds_per_call: About how long a compiled call takes.
        killed: When it is killed; None: never.
        settings: More of its section `training`.
    """

    def __init__(
        self,
        folder: Path,
        backend: str,
        epochs: int,
        seconds_per_call: float = 0.05,
        killed: Moment | None = None,
        **settings: Any,
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
        request: dict[str, Any] = {"folder": str(folder), "seconds_per_call": seconds_per_call, "training": training}
        request["killed"] = None if killed is None else asdict(killed)
        folder.mkdir(exist_ok=True)
        self.log = folder / "log.txt"
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("training_process.py")), json.dumps(request)],
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )

    def was_killed(self) -> bool:
        """Waits for the process to end, and returns whether it was killed."""
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
    return Moment(steps=1, latest=chance.uniform(0, 8))


def at_work(chance: random.Random) -> Moment:
    """A moment soon after a process has written one to three checkpoints: in a step, a validation or another one."""
    return Moment(steps=chance.randint(1, 3) * STEPS_OF_EPOCH // 2, delay=chance.uniform(0, 0.05))


def finished_in_spite_of(moments: list[Moment], start: Callable[[Moment | None], Process]) -> End:
    """Starts a training again and again, which is killed at each of these moments, and lets it end at last."""
    for moment in moments:
        process = start(moment)
        assert process.was_killed(), f"it was not killed:\n{process.log.read_text(encoding='utf-8')}"
    return start(None).finish()
