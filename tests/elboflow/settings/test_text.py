"""Numbers in sentences."""

from pathlib import Path

import pytest

from elboflow.settings.text import counted, short_path


@pytest.mark.parametrize(
    ("number", "expected"), [(1, "1 epoch"), (0, "0 epochs"), (2, "2 epochs"), (1442, "1,442 epochs")]
)
def test_one_has_a_singular_and_all_other_numbers_a_plural(number, expected):
    assert counted(number, "epoch") == expected


def test_an_irregular_plural_is_given():
    assert [counted(number, "batch", "batches") for number in (1, 2)] == ["1 batch", "2 batches"]


def test_a_path_is_shown_from_here_with_its_digests_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    digest = "b019ae1d" + "0" * 56
    assert short_path(tmp_path / "datasets" / digest) == "datasets/b019ae1d…"
    assert short_path(f"gs://bucket/{digest}/train") == "gs://bucket/b019ae1d…/train"
    assert short_path("/elsewhere/run-2026") == "/elsewhere/run-2026"
