"""A champion is rescored in a child process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from components.registry import rescoring
from elboflow import artifacts
from elboflow.settings import WorkError

T = TypeVar("T")

MODEL = Path(__file__).parents[2] / "formats/98a35c2/model"

PARENT = (
    "import sys; from pathlib import Path; from components.registry.rescoring import rescore; "
    "from elboflow.vae.evaluation.config import EvaluationConfig; "
    "rescore('', Path(sys.argv[1]), EvaluationConfig(), 0, 'log_likelihood')"
)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_damaged_values_of_the_examples_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "examples.npz").write_bytes(content)
    with pytest.raises(WorkError, match=r"cannot be read from .*examples\.npz"):
        rescoring.read(tmp_path / "examples.npz", "log_likelihood")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="it looks processes up in /proc")
def test_the_child_that_rescores_ends_with_its_killed_parent(tmp_path: Path) -> None:
    artifacts.copy(MODEL, "model", tmp_path)
    facts = artifacts.load(tmp_path, "model")
    facts["files"]["model.keras"]["bytes"] = 1 << 40
    (tmp_path / "model.json").write_text(json.dumps(facts), encoding="utf-8")
    os.truncate(tmp_path / "model.keras", 1 << 40)  # takes no room, and minutes to be read
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], env={**os.environ, "PYTHONPATH": "."})
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    child = wait_for(lambda: children.read_text(encoding="utf-8").strip())
    wait_for(lambda: b"components.registry.rescoring" in Path(f"/proc/{child}/cmdline").read_bytes())
    parent.kill()
    parent.wait()
    wait_for(lambda: not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes())


def wait_for(found: Callable[[], T]) -> T:
    """Calls a function until it returns something true."""
    for _ in range(600):
        if value := found():
            return value
        time.sleep(0.05)
    raise TimeoutError
