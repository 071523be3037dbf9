"""Where checkpoints lie."""

from pathlib import Path

import pytest

from components.surroundings.checkpoints import place
from elboflow.settings import RequestError
from elboflow.vae.config import Checkpoints


def test_checkpoints_may_be_in_one_folder_for_all_trainings(tmp_path: Path):
    settings = Checkpoints(folder=str(tmp_path / "all"))
    output = tmp_path / "model"
    with place(output, "a" * 64, settings) as first, place(output, "b" * 64, settings) as second:
        pass
    assert first.parent == second.parent == tmp_path / "all"
    assert first != second
    with pytest.raises(
        RequestError, match=r"training\.checkpoints\.folder is gs://bucket/x, which this machine does not"
    ):
        place(tmp_path / "model", "a", Checkpoints(folder="gs://bucket/x")).__enter__()


def test_of_two_equal_trainings_at_once_in_a_workspace_the_second_saves_beside_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ELBOFLOW_CHECKPOINTS", str(tmp_path / "all"))
    settings = Checkpoints()
    outputs = tmp_path / "first", tmp_path / "second"
    with place(outputs[0], "a" * 64, settings) as first, place(outputs[1], "a" * 64, settings) as second:
        assert first.parent == tmp_path / "all"
        assert second.parent == tmp_path / "second"
    assert list((tmp_path / "all").iterdir()) == []
    with place(tmp_path / "third", "a" * 64, settings) as later:
        assert later == first
