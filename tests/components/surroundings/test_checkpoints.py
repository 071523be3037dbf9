"""Where checkpoints lie."""

from pathlib import Path

import pytest

from components.surroundings.checkpoints import place
from elboflow.settings import RequestError
from elboflow.vae.config import Checkpoints


def test_checkpoints_may_be_in_one_folder_for_all_trainings(tmp_path: Path):
    settings = Checkpoints(folder=str(tmp_path / "all"))
    first, second = (place(tmp_path / "model", identity * 64, settings) for identity in "ab")
    assert first.parent == second.parent == tmp_path / "all"
    assert first != second
    with pytest.raises(
        RequestError, match=r"training\.checkpoints\.folder is gs://bucket/x, which this machine does not"
    ):
        place(tmp_path / "model", "a", Checkpoints(folder="gs://bucket/x"))
