"""Temporary folders: gone in the end, and after a kill as soon as the next one is made."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from elboflow.artifacts.temporary import PREFIX, remove_dead, temporary_folder

PROGRAM = """
import time
from elboflow.artifacts.temporary import temporary_folder
with temporary_folder() as folder:
    (folder / "large.bin").write_bytes(bytes(1000))
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def start() -> tuple["subprocess.Popen[str]", Path]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_gone_in_the_end_also_after_an_error(place: Path):
    def fail() -> None:
        with temporary_folder() as folder:
            (folder / "file").write_text("x", encoding="utf-8")
            assert list(folder.iterdir()) == [folder / "file"]
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert list(place.iterdir()) == []


def test_the_folder_of_a_process_that_was_killed_goes_with_the_next_and_those_at_work_stay(place: Path):
    killed, left = start()
    alive, used = start()
    try:
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert (left / "large.bin").exists()
        with temporary_folder() as folder:
            assert sorted(place.iterdir()) == sorted([folder.parent, used.parent])
            assert (used / "large.bin").exists()
    finally:
        alive.kill()
        alive.communicate()


def test_nothing_else_is_taken_for_a_dead_processes_folder(place: Path):
    kept = [
        place / "elboflow-workspace",
        place / f"{PREFIX}mine",
        place / f"{PREFIX}of-another",
        place / f"{PREFIX}link",
    ]
    for folder in kept[:3]:
        folder.mkdir()
        (folder / "precious").write_text("x", encoding="utf-8")
    (kept[2] / ".alive").write_text("locked", encoding="utf-8")
    if os.getuid() == 0:
        os.chown(kept[2], 12345, -1)
    else:  # no other user's to be had
        (kept[2] / ".alive").unlink()
    kept[3].symlink_to(kept[0])
    (kept[0] / ".alive").write_text("locked", encoding="utf-8")
    remove_dead()
    assert sorted(place.iterdir()) == sorted(kept)
    assert all((folder / "precious").exists() for folder in kept)
