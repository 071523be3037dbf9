"""A dataset folder as the models, the report and MLflow see it."""

from pathlib import Path

import numpy as np
import pytest

from components.preprocess import preprocess
from preprocessing.config import DataConfig
from tests.opened import opened


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(["bee", "ape", "cat"], ["ape", "bee", "cat"]), ([4, 0, 2], None)],
    ids=["names", "numbers"],
)
def test_the_labels_of_examples_have_the_names_that_the_source_gives(
    tmp_path: Path, labels: list[object], classes: list[str] | None
) -> None:
    image = np.random.default_rng(0).integers(0, 17, (90, 4, 4))
    np.savez(tmp_path / "raw.npz", image=image, label=np.array(labels * 30))
    features = {"image": {"kind": "image", "shape": [4, 4, 1], "range": [0, 16]}, "label": "category"}
    source = {"kind": "npz", "path": str(tmp_path / "raw.npz")}
    preprocess(DataConfig.model_validate({"source": source, "features": features}), tmp_path / "dataset")
    data = opened(tmp_path / "dataset")
    assert data.classes == classes
    assert data.label == "label"
    found = data.head("train", 2**62).features["label"]
    assert set(found.tolist()) == ({0, 1, 2} if classes else {0, 2, 4})
