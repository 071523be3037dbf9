"""Locks on files: held as long as a process is there, and by the processes that inherit them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from elboflow.artifacts import lock


def test_a_lock_is_held_until_its_descriptor_is_closed(tmp_path: Path):
    assert not lock.is_held(tmp_path / "lock")
    held = lock.hold(tmp_path / "lock")
    assert held is not None
    assert lock.is_held(tmp_path / "lock")
    assert lock.hold(tmp_path / "lock", patience=0) is None
    os.close(held)
    assert not lock.is_held(tmp_path / "lock")


def test_a_child_that_inherits_a_lock_holds_it_until_it_ends(tmp_path: Path):
    held = lock.hold(tmp_path / "lock")
    assert held is not None
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[held])
    os.close(held)
    assert lock.is_held(tmp_path / "lock")
    child.kill()
    child.wait()
    assert not lock.is_held(tmp_path / "lock")


def test_who_waits_for_a_lock_gets_it_when_it_is_released(tmp_path: Path):
    child = subprocess.Popen(
        [sys.executable, "-c", f"import fcntl, time; f = open({str(tmp_path / 'lock')!r}, 'w'); fcntl.flock(f, 2); "
         "print(1, flush=True); time.sleep(1.5)"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()
    started = time.monotonic()
    held = lock.hold(tmp_path / "lock", patience=30)
    assert held is not None
    assert time.monotonic() - started < 20
    os.close(held)
    child.wait()


def test_an_exclusive_lock_leaves_no_file_and_is_free_for_the_next(tmp_path: Path):
    for _ in range(2):
        with lock.exclusive(tmp_path / "lock"):
            with pytest.raises(BlockingIOError), lock.exclusive(tmp_path / "lock"):
                pass
            assert lock.is_held(tmp_path / "lock")
        assert list(tmp_path.iterdir()) == []


def test_a_folder_is_locked_like_a_file(tmp_path: Path):
    held = lock.hold(tmp_path)
    assert held is not None
    assert lock.is_held(tmp_path)
    os.close(held)
    with lock.locked(tmp_path):
        assert lock.hold(tmp_path, patience=0) is None


def test_a_place_that_cannot_be_written_to_holds_no_lock(tmp_path: Path):
    assert lock.hold(tmp_path / "absent" / "lock") is None
    assert not lock.is_held(tmp_path / "absent" / "lock")
