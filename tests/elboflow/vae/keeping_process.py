"""Kills a process before each call of the system that writing checkpoints makes, for tests: `… FOLDER`.

For every n a process of its own writes two checkpoints more into a copy of a folder that holds one, and is killed by
SIGKILL before the n-th call. Writes to stdout, for each, the call and the step that is found afterwards, in JSON.
"""

import json
import os
import shutil
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

CALLS = {"open", "write", "flush", "fsync", "close", "chmod", "rename", "replace", "unlink", "mkdir", "rmdir"}
KEPT, STEPS = 1, (10, 20, 30)


def main(folder: Path) -> None:
    from elboflow.vae import compute

    compute.use("tensorflow")
    kept(folder / "before", STEPS[:1])
    deaths: list[dict[str, Any]] = []
    while True:
        number = len(deaths) + 1
        copy = folder / f"{number:04d}"
        shutil.copytree(folder / "before", copy)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            threading.setprofile(Killer(number, writer))  # of the thread that writes, which is started next
            kept(copy, STEPS[1:])
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        with os.fdopen(reader) as told:
            call = told.read()
        if not os.WIFSIGNALED(status):
            assert status == 0, status
            break
        deaths.append({"call": call, **recovered(copy)})
        shutil.rmtree(copy)
    print(json.dumps({"deaths": deaths, "calls": Counter(death["call"] for death in deaths)}))


class Killer:
    """A profile function (`sys.setprofile`) that kills the process before its n-th call among `CALLS`."""

    def __init__(self, number: int, told: int) -> None:
        self._left, self._told = number, told

    def __call__(self, frame: Any, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in CALLS:
            self._left -= 1
            if not self._left:
                os.write(self._told, called.__name__.encode())
                os.kill(os.getpid(), signal.SIGKILL)


def kept(folder: Path, steps: tuple[int, ...]) -> None:
    """Keeps checkpoints of these steps, as a training does."""
    with keeper(folder) as keeping:
        keeping.latest()
        for step in steps:
            keeping.keep(state(step))
            keeping.flush()


def recovered(folder: Path) -> dict[str, Any]:
    """Goes on from what is in a folder; returns the step, and what is there after one more checkpoint."""
    with keeper(folder) as keeping:
        found = keeping.latest()
        assert found is not None
        expected = state(found.step)
        for array, same in zip(found.variables, expected.variables, strict=True):
            np.testing.assert_array_equal(array, same)
        assert found.facts() == expected.facts()
        keeping.keep(state(40))
    return {"step": found.step, "left": sorted(path.name for path in folder.iterdir())}


def keeper(folder: Path) -> Any:
    from elboflow.vae.config import Checkpoints
    from elboflow.vae.training.checkpoints import Keeper

    return Keeper(folder, {"seed": 0}, Checkpoints(keep=KEPT))


def state(step: int) -> Any:
    from elboflow.vae.training.state import Best, State

    random = np.random.default_rng(step)
    arrays = [random.normal(size=(50, 70)), np.array(step)]
    return State(arrays, step=step, epoch=step // 10, best=Best(1, -float(step), [random.normal(size=5)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
