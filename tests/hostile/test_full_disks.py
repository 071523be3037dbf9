"""Disks that are full: the step that meets one says so in a sentence, leaves nothing that looks whole, and goes on
well when there is room again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import disks
from tests.hostile.campaign import Command, check_what_looks_whole, make, words

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills")]

LEFT = {"preprocess": 60_000, "train": 4_096, "evaluate": 40_000, "register": 100_000}
"""Bytes that are left on the disk: too few for what each step writes."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "disk", "8m") as folder:
        yield folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made"))


def fill(disk: Path, left: int) -> Path:
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - left))
    return ballast


@pytest.mark.parametrize("step", LEFT)
def test_a_step_says_that_the_disk_is_full_and_ends_well_when_there_is_room(
    step: str, disk: Path, made: Path, tmp_path: Path
):
    ballast = fill(disk, LEFT[step])
    full = Command(tmp_path, "step", step, "digits", *words(step, made, disk))
    assert full.end() == 1, "".join(full.lines)
    assert any(said in full.lines[-1].lower() for said in ("space left", "space is left", "full")), "".join(full.lines)
    assert full.left() == []
    assert check_what_looks_whole(disk) == set()
    ballast.unlink()
    again = Command(tmp_path, "step", step, "digits", *words(step, made, disk))
    assert again.end() == 0, "".join(again.lines)
    assert again.temporary_folders() == []
    whole = {"preprocess": {"dataset"}, "train": {"model"}, "evaluate": {"evaluation"}}
    assert check_what_looks_whole(disk) == whole.get(step, set())
