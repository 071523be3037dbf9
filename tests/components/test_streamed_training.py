"""A train split that is larger than `training.memory_megabytes`: read shard by shard, checked, and resumable."""

import logging
from pathlib import Path

import numpy as np
import pytest

from elboflow.settings import WorkError
from elboflow.vae.config import TrainingConfig
from elboflow.vae.watch import Watch
from preprocessing.config import DataConfig
from preprocessing.pipeline import preprocess
from preprocessing.reader import open_dataset
from tests.components.runs import SMALL_MODEL
from tests.elboflow.vae.given import weights

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """scikit-learn's digits, four times as wide and high, in eight shards of about 0.2 MB; 1.5 MB in all."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    np.savez(tmp_path / "raw.npz", image=images, label=bunch.target, weight=1.0 + bunch.target)
    features = {"image": {"kind": "image", "shape": [32, 32, 1], "range": [0, 16]}, "label": "category"}
    config = {
        "source": {"kind": "npz", "path": str(tmp_path / "raw.npz")},
        "features": {**features, "weight": "number"},
        "shards": {"megabytes": 0.2},
    }
    preprocess(DataConfig.model_validate(config), tmp_path / "dataset")
    return tmp_path / "dataset"


def trained(dataset: Path, output: Path, watch: Watch | None = None) -> list[np.ndarray]:
    from components.train import Monitoring, train
    from elboflow.vae import folder

    settings = {
        "memory_megabytes": 1,
        "epochs": 5,
        "batch_size": 64,
        "weights": "weight",
        "checkpoints": {"every_steps": 5},
        "early_stopping": None,
    }
    training = TrainingConfig.model_validate(settings)
    train(dataset, output, SMALL_MODEL, training, seed=0, monitoring=Monitoring(watch=watch))
    return weights(folder.load(output).model)


@pytest.mark.slow
def test_a_shard_that_is_corrupted_in_the_middle_is_named_and_its_repair_is_all_it_takes(dataset, tmp_path, caplog):
    shards = open_dataset(dataset).shards("train")
    assert len(shards) == 8
    path = dataset / shards[3].name
    whole = path.read_bytes()

    def corrupts(epoch: int, elbo: float) -> bool:
        if epoch == 2:
            path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
        return True

    with pytest.raises(WorkError, match=f"the shard .*{path.name} is corrupted: its SHA-256 is"):
        trained(dataset, tmp_path / "model", corrupts)
    assert not (tmp_path / "model/model.json").exists()
    path.write_bytes(whole)
    caplog.set_level(logging.INFO, "elboflow.training")
    resumed = trained(dataset, tmp_path / "model")
    assert "going on after step" in caplog.text
    undisturbed = trained(dataset, tmp_path / "undisturbed")
    for one, other in zip(resumed, undisturbed, strict=True):
        np.testing.assert_array_equal(one, other)
