"""Folders that say what they hold."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from elboflow import artifacts

KILLED = """
import os, signal, sys
from pathlib import Path
from elboflow import artifacts
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
artifacts.write_atomically(Path(sys.argv[1]), "half")
"""


def test_what_killed_writes_left_goes_before_a_folder_is_written_anew_and_nothing_else(tmp_path: Path) -> None:
    for file in ("metrics.json", "figures/curves.png"):
        command = [sys.executable, "-c", KILLED, str(tmp_path / file)]
        killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
        assert killed.returncode == -signal.SIGKILL
    others = {tmp_path / ".config", tmp_path / ".notes.txt.a1b2c3d4", tmp_path / "figures/curves.png"}
    for other in others:
        other.write_text("somebody's", encoding="utf-8")
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(others) + 2
    artifacts.withdraw(tmp_path, "evaluation")
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == others
