"""The MLflow of a workspace: made whole or not at all."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONNECT = "import sys; from components.tracking.store import connect; connect(sys.argv[1])"


@pytest.mark.parametrize("bytes_written", [1, pytest.param(400_000, marks=pytest.mark.slow)])
def test_a_kill_while_the_database_is_made_leaves_none_and_the_next_process_makes_it(
    bytes_written: int, tmp_path: Path
):
    database = tmp_path / "mlflow.db"
    command = [sys.executable, "-c", CONNECT, f"sqlite:///{database}"]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size >= bytes_written for path in [*tmp_path.glob("*.db"), *tmp_path.glob("*.new")]):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not database.exists()
    subprocess.run(command, check=True)
    assert database.exists()
    assert list(tmp_path.glob(".mlflow.db.new*")) == []
