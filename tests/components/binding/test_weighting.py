"""What each example of the train split counts in the loss: from the dataset's numbers, its classes, or both."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.binding.datasets import ModelDataset
from elboflow.settings import RequestError
from elboflow.vae.config import TrainingConfig
from elboflow.vae.data import Examples
from pipelines.experiment import Experiment
from preprocessing.pipeline import preprocess
from tests import packages
from tests.opened import opened
from tests.preprocessing.raw_files import weighted


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ModelDataset:
    """600 examples in several shards with labels of uneven classes and weights between 0 and about 30."""
    folder = tmp_path_factory.mktemp("weighted")
    weights = np.random.default_rng(0).gamma(1.0, 5.0, 600)
    weights[::9] = 0
    preprocess(weighted(folder / "raw.npz", weights), folder / "dataset")
    return opened(folder / "dataset")


def read(images: ModelDataset, **settings: object) -> Examples:
    source = images.source("train", TrainingConfig.model_validate(settings))
    shards = [source.read(shard) for shard in range(len(source.counts))]
    assert [len(shard) for shard in shards] == list(source.counts)
    assert len(shards) > 1
    return Examples.joined(shards)


def test_a_source_gives_the_split_as_it_is(images):
    found, whole = read(images), images.head("train", 2**62)
    assert np.array_equal(found.features["image"], whole.features["image"])
    assert np.array_equal(found.keys, whole.keys)
    assert np.array_equal(found.features["label"], whole.features["label"])
    assert found.weights is None


def test_a_number_weighs_in_proportion_with_a_mean_of_one(images):
    found = read(images, weights="weight").weights
    number = images.dataset.read("train")["weight"]
    assert found.dtype == np.float32
    assert found.astype(np.float64).mean() == pytest.approx(1, abs=1e-7)
    assert np.allclose(found * number.astype(np.float64).mean(), number, rtol=1e-6)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_balance_weighs_by_the_rarity_of_a_class(images, strength):
    found = read(images, balance={"strength": strength})
    labels = found.features["label"]
    count = np.bincount(labels)
    expected = (1 / count[labels]) ** strength
    assert np.allclose(found.weights, expected / expected.mean(), rtol=1e-6)
    if strength == 1:
        total = np.bincount(labels, found.weights)
        assert np.allclose(total, total[0])


def test_number_and_balance_multiply_with_a_mean_of_one(images):
    found = read(images, weights="weight", balance={"feature": "label"})
    number = images.dataset.read("train")["weight"].astype(np.float64)
    labels = found.features["label"]
    expected = number / np.bincount(labels)[labels]
    assert np.allclose(found.weights, expected / expected.mean(), rtol=1e-6)
    assert found.weights.astype(np.float64).mean() == pytest.approx(1, abs=1e-7)


def test_what_is_validated_and_evaluated_has_no_weights(images):
    settings = TrainingConfig.model_validate({"weights": "weight", "balance": {}})
    assert images.source("validation", settings).read(0).weights is None
    assert images.head("train", 2**62).weights is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"weights": "wait"},
            "training.weights is 'wait', which is no feature of kind number .*'weight' is of kind nu",
        ),
        ({"weights": "label"}, "training.weights is 'label', which is no feature of kind number"),
        ({"balance": {"feature": "weight"}}, "training.balance.feature is 'weight', which is no feature of kind cat"),
    ],
)
def test_a_feature_that_cannot_weigh_is_answered_with_those_there_are(images, settings, message):
    with pytest.raises(RequestError, match=message):
        images.source("train", TrainingConfig.model_validate(settings))


@pytest.mark.parametrize(("weights", "found"), [(np.arange(200.0) - 1, "from -1 to 1"), (np.zeros(200), "from 0 to 0")])
def test_negative_weights_and_nothing_but_zeros_are_refused(tmp_path: Path, weights, found):
    preprocess(weighted(tmp_path / "raw.npz", weights), tmp_path / "dataset")
    with pytest.raises(RequestError, match=f"training.weights is 'weight', .* {found}.*not all of them are 0"):
        opened(tmp_path / "dataset").source("train", TrainingConfig(weights="weight"))


MEDALS = """
from typing import Literal

from preprocessing.features.category import CategoryFeature, FittedCategory
from preprocessing.features.number import FittedNumber, NumberFeature

class Medal(CategoryFeature):
    kind: Literal["medal"] = "medal"

    def fitted(self, summary, name):
        return FittedMedal(**vars(super().fitted(summary, name)))

class FittedMedal(FittedCategory):
    def spec(self, statistics):
        return super().spec(statistics).model_copy(update={"kind": "medal"})

class Prize(NumberFeature):
    kind: Literal["prize"] = "prize"

    def fitted(self, summary, name):
        return FittedPrize()

class FittedPrize(FittedNumber):
    def spec(self, statistics):
        return super().spec(statistics).model_copy(update={"kind": "prize"})
"""


@pytest.fixture
def medals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with a kind of classes, and one of amounts."""
    points = {"elboflow.features": {"medal": "elbo_test_medals:Medal", "prize": "elbo_test_medals:Prize"}}
    packages.install(tmp_path / "site", "medals", {"elbo_test_medals": MEDALS}, points)
    monkeypatch.syspath_prepend(tmp_path / "site")
    packages.forget()
    yield
    packages.forget()
    del sys.modules["elbo_test_medals"]


def test_classes_and_amounts_of_an_installed_kind_label_and_weigh_examples(medals: None, tmp_path: Path) -> None:
    config = weighted(tmp_path / "raw.npz", np.random.default_rng(0).gamma(1.0, 5.0, 600))
    data = config.model_dump(mode="json")
    data["features"] |= {"label": {"kind": "medal"}, "weight": {"kind": "prize"}}
    training = {"weights": "weight", "balance": {"feature": "label"}}
    read_again = Experiment.model_validate({"name": "medals", "data": data, "training": training})
    preprocess(read_again.data, tmp_path / "dataset")
    found = opened(tmp_path / "dataset")
    assert found.label == "label"
    assert found.manifest.features["label"].kind == "medal"
    weights = read(found, **training).weights
    assert weights.astype(np.float64).mean() == pytest.approx(1, abs=1e-7)
    with pytest.raises(RequestError, match=r"training.weights is 'label', which is no feature of kind number"):
        found.source("train", TrainingConfig(weights="label"))
