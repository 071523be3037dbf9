"""Starts `parallel_process.py`: on one machine, or as several that train together here."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_ROOT = Path(__file__).parents[3]
_SECONDS = 300
_A_MINUTE = 60  # the most that the machine which is left may take to end


def alone(folder: Path, trainings: dict[str, Any]) -> dict[str, Any]:
    """Runs trainings one after the other in one process; returns the curves of each."""
    ended = ends([started({"folder": str(folder), "trainings": trainings})])
    assert ended == [(0, ended[0][1])], ended[0][1]
    return {name: curves(folder, name) for name in trainings}


def together(
    folder: Path, trainings: dict[str, Any], *, killed: dict[int, int] | None = None, second: Path | None = None
) -> list[tuple[int, str]]:
    """Runs trainings on two machines, of which some kill themselves after an epoch; returns how each ended.

    Both see the same folder, unless the second has one of its own.
    """
    workers = addresses(2)
    requests = [
        {
            "folder": str(second if second and index else folder),
            "trainings": trainings,
            "cluster": {"coordinator": workers[0], "processes": 2, "index": index, "workers": workers},
            "killed_after": (killed or {}).get(index),
        }
        for index in range(2)
    ]
    processes = [started(request) for request in requests]
    for index in killed or {}:
        try:
            processes[index].wait(_SECONDS)
            processes[1 - index].wait(_A_MINUTE)  # it finds out that it is alone, or this raises
        finally:
            kill(processes)
    return ends(processes)


def addresses(count: int) -> list[str]:
    """Returns addresses here that nobody listens to."""
    with contextlib.ExitStack() as kept:
        free = [kept.enter_context(socket.socket()) for _ in range(count)]
        for each in free:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in free]


def started(request: dict[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.elboflow.vae.parallel_process", json.dumps(request)],
        cwd=_ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def ends(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Returns exit code and last words of each process."""
    try:
        return [(process.wait(), said) for process in processes for said in [process.communicate(timeout=_SECONDS)[1]]]
    finally:
        kill(processes)


def kill(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()
        process.wait()


def curves(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def assert_equal(found: Any, expected: Any, tolerance: float) -> None:
    """Looks whether two trainings had the same losses, gradients, bounds and weights, up to a relative tolerance."""
    for group, column in [("train", "loss"), ("train", "gradient_norm"), ("validation", "elbo")]:
        np.testing.assert_allclose(found[group][column], expected[group][column], rtol=tolerance)
    np.testing.assert_allclose(found["weights"], expected["weights"], rtol=tolerance, atol=tolerance)
