"""A dataset folder as the models, the report and MLflow see it."""

from pathlib import Path

import numpy as np
import pytest

from components.binding.datasets import open_for
from components.preprocess import preprocess
from elboflow.settings import RequestError
from elboflow.vae.config import TrainingConfig
from elboflow.vae.families.flat import Flat
from elboflow.vae.spec import moments
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


@pytest.mark.parametrize("version", ["98a35c2", "737760e"])
def test_a_number_of_which_an_old_dataset_kept_no_deviation_weighs_examples_and_is_modelled_no_more(
    version: str,
) -> None:
    folder = Path(__file__).parents[2] / "formats" / version / "dataset"
    for model in ({"input": "ink", "likelihood": "normal"}, {"input": "image", "condition": "ink"}):
        with pytest.raises(RequestError) as refused:
            open_for(Flat.model_validate(model), folder)
        assert str(refused.value) == (
            f"the dataset {folder} was written by 0.1.0, which did not keep the standard deviation of 'ink': remove "
            "its folder, and write it again"
        )
    weighs = opened(folder).source("train", TrainingConfig(weights="ink")).weighting
    assert weighs is not None
    assert weighs.mean > 0


def test_a_number_that_is_the_same_everywhere_is_modelled(tmp_path: Path) -> None:
    np.savez(tmp_path / "raw.npz", image=np.random.default_rng(0).integers(0, 17, (90, 4, 4)), dose=np.full(90, 3.0))
    features = {"image": {"kind": "image", "shape": [4, 4, 1], "range": [0, 16]}, "dose": "number"}
    source = {"kind": "npz", "path": str(tmp_path / "raw.npz")}
    preprocess(DataConfig.model_validate({"source": source, "features": features}), tmp_path / "dataset")
    specs = open_for(Flat(input="image", condition="dose"), tmp_path / "dataset").specs
    assert moments(specs["dose"]) == (3.0, 1.0)
