"""The MLflow of a workspace: made whole or not at all."""

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.tracking import store
from elboflow.settings import WorkError

CONNECT = "import sys; from components.tracking.store import connect; connect(sys.argv[1])"


@pytest.mark.slow
@pytest.mark.parametrize("bytes_written", [1, 400_000])
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


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space", "/tmp/x.png", None, "w/x.png"), OSError(28, "No")])
def test_a_full_disk_is_said_to_be_one_by_the_file_that_was_to_be_written(error: OSError):
    with pytest.raises(WorkError) as told, store.explained("sqlite:///w/mlflow.db"):
        raise error
    file = ": w/x.png" if error.filename2 else ""
    assert str(told.value) == f"cannot use the MLflow at sqlite:///w/mlflow.db: no space is left on the disk{file}"
