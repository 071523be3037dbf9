"""What version 98a35c2 wrote goes on being read, compared and used; its folders in `98a35c2/` are never rewritten."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.sweep import trial
from elboflow import artifacts
from elboflow.settings import WorkError
from elboflow.vae import folder
from elboflow.vae.config import ModelConfig, TrainingConfig
from elboflow.vae.evaluation import folder as evaluations
from preprocessing import manifest as manifests
from preprocessing.config import DataConfig
from preprocessing.reader import open_dataset

WRITTEN = Path(__file__).parent / "98a35c2"
DATASET = "ac0adc6f2dac5787955357d1300cd241c607eff4a27edc237a1574b24da255b5"
TRAINING = "34e9b47186df70e6dde2c566f28673804e69e150932a5c9572e57bc76b14b1b0"
DATA = DataConfig.model_validate(
    {
        "source": {"kind": "npz", "path": "digits.npz"},
        "features": {
            "image": {"kind": "image", "shape": [8, 8, 1], "range": [0, 16]},
            "label": {"kind": "category"},
            "ink": {"kind": "number"},
        },
        "splits": {"train": 0.6, "validation": 0.2, "test": 0.2},
    }
)


def test_the_dataset_is_read_and_keeps_its_digest() -> None:
    dataset = open_dataset(WRITTEN / "dataset")
    assert dataset.manifest.digest == DATASET
    assert dataset.manifest.counts == {"test": 30, "train": 98, "validation": 22}
    assert dataset.read("test")["image"].shape == (30, 8, 8, 1)


def test_the_same_data_and_settings_still_have_that_digest() -> None:
    fingerprint = json.loads((WRITTEN / "dataset/dataset.json").read_text(encoding="utf-8"))["source"]["fingerprint"]
    assert manifests.digest(DATA, fingerprint) == DATASET


def test_a_candidate_of_a_sweep_still_has_its_digest() -> None:
    model = {"latent": 2, "encoder": {"kind": "mlp", "hidden": [8]}, "decoder": {"kind": "mlp", "hidden": [8]}}
    training = {"epochs": 3, "batch_size": 32, "checkpoints": {"every_steps": 2, "keep": 1}}
    sections = {
        "data": DATA,
        "model": ModelConfig.model_validate(model),
        "training": TrainingConfig.model_validate(training),
    }
    recorded = {name: section.model_dump(mode="json") for name, section in sections.items()}
    assert trial.Candidate({}, {**recorded, "seed": 0}).digest == trial.read(WRITTEN / "trial").digest


def test_the_model_folder_is_read() -> None:
    model = folder.load(WRITTEN / "model")
    assert model.config.latent == 2
    assert model.provenance.dataset == DATASET
    assert model.weights == artifacts.sha256(WRITTEN / "model/model.keras")
    assert model.curves["validation"]["epoch"] == [1, 2, 3]


def test_the_evaluation_folder_is_read() -> None:
    evaluated = evaluations.load(WRITTEN / "evaluation")
    assert evaluated.facts.data.dataset == DATASET
    assert evaluated.facts.weights == folder.load(WRITTEN / "model").weights
    assert evaluated.metrics.elbo.value == evaluated.facts.metrics["elbo"]


def test_the_outcome_of_a_trial_is_read() -> None:
    outcome = trial.read(WRITTEN / "trial")
    assert (outcome.status, outcome.best_epoch, len(outcome.elbo)) == ("finished", 3, 3)


def test_a_folder_that_is_read_and_written_again_says_the_same(tmp_path: Path) -> None:
    before = manifests.load(str(WRITTEN / "dataset"))
    (tmp_path / "dataset.json").write_text(before.to_json(), encoding="utf-8")
    assert manifests.load(str(tmp_path)) == before
    assert json.loads(before.to_json())["format"] == 2


@pytest.mark.parametrize("kind", ["model", "evaluation"])
def test_a_folder_is_copied_as_it_is(kind: str, tmp_path: Path) -> None:
    for _ in ("into a new folder", "over the same"):
        artifacts.copy(WRITTEN / kind, kind, tmp_path / kind)
    assert artifacts.load(tmp_path / kind, kind) == artifacts.load(WRITTEN / kind, kind)


@pytest.mark.parametrize(
    ("kind", "read"), [("model", folder.load), ("evaluation", evaluations.load), ("dataset", open_dataset)]
)
def test_a_newer_format_is_refused_in_one_sentence(kind: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    copied = shutil.copytree(WRITTEN / kind, tmp_path / kind)
    manifest = copied / f"{kind}.json"
    newer = manifest.read_text(encoding="utf-8").replace('"format": 1', '"format": 3')
    manifest.write_text(newer, encoding="utf-8")
    with pytest.raises(WorkError, match=r"json was written by a newer ELBOflow: its format is 3; this version reads"):
        read(copied)


@pytest.mark.xdist_group("tensorflow")
@pytest.mark.usefixtures("tensorflow_backend")
def test_a_training_goes_on_from_a_checkpoint_to_the_same_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from components.train import train
    from elboflow.vae.training import identity

    (old,) = (WRITTEN / "stopped/checkpoints").iterdir()
    shutil.copytree(old, tmp_path / "model/checkpoints" / old.name)
    written = folder.load(WRITTEN / "model")
    same = identity.identity(DATASET, written.config, written.provenance.training, seed=0)
    assert identity.digest(same) == TRAINING
    with caplog.at_level("INFO", "elboflow"):
        train(WRITTEN / "dataset", tmp_path / "model", written.config, written.provenance.training, seed=0)
    assert "step 6" in caplog.text
    for ours, theirs in zip(folder.load(tmp_path / "model").model.weights, written.model.weights, strict=True):
        np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=1e-4, atol=1e-5)


@pytest.mark.xdist_group("tensorflow")
@pytest.mark.usefixtures("tensorflow_backend")
def test_the_model_generates_images() -> None:
    from elboflow.vae.evaluation import samples

    images = samples.generate(folder.load(WRITTEN / "model").model, 4, seed=0)
    assert images.shape == (4, 8, 8, 1)
    assert np.isfinite(images).all()
