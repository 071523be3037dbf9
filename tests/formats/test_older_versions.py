"""What other versions wrote goes on being read, compared and used; their folders here are never rewritten."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.registry import rescoring
from components.sweep import trial
from elboflow import artifacts
from elboflow.settings import WorkError
from elboflow.vae import folder
from elboflow.vae.evaluation import folder as evaluations
from preprocessing import address
from preprocessing import manifest as manifests
from preprocessing.config import DataConfig
from preprocessing.reader import open_dataset

# The commits that wrote the folders, and the digests of their datasets: those of format 1 and 2 had another digest.
FORMER = "ac0adc6f2dac5787955357d1300cd241c607eff4a27edc237a1574b24da255b5"
DATASETS = {
    "98a35c2": FORMER,
    "737760e": FORMER,
    "ed8f261": "667eec82bc91995c0e5416b1eadf633903e3c1c7f9b9b151c77dee942c80a85f",
}
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


@pytest.fixture(params=DATASETS)
def written(request: pytest.FixtureRequest) -> Path:
    """What a version wrote."""
    return Path(__file__).parent / request.param


def test_the_dataset_is_read_and_keeps_its_digest(written: Path) -> None:
    dataset = open_dataset(written / "dataset")
    assert dataset.manifest.digest == DATASETS[written.name]
    assert dataset.manifest.counts == {"test": 30, "train": 98, "validation": 22}
    assert dataset.read("test")["image"].shape == (30, 8, 8, 1)


def test_the_same_data_and_settings_are_still_known_by_that_digest(written: Path) -> None:
    fingerprint = json.loads((written / "dataset/dataset.json").read_text(encoding="utf-8"))["source"]["fingerprint"]
    assert DATASETS[written.name] in address.digests(DATA, fingerprint)


def test_the_model_folder_is_read(written: Path) -> None:
    model = folder.load(written / "model")
    assert model.config.latent == 2
    assert model.provenance.dataset == DATASETS[written.name]
    assert model.weights == artifacts.sha256(written / "model/model.keras")
    assert model.curves["validation"]["epoch"] == [1, 2, 3]


def test_the_evaluation_folder_is_read(written: Path) -> None:
    evaluated = evaluations.load(written / "evaluation")
    assert evaluated.facts.data.dataset == DATASETS[written.name]
    assert evaluated.facts.weights == folder.load(written / "model").weights
    assert evaluated.metrics["elbo"].value == evaluated.facts.metrics["elbo"]
    better = {name: metric.better for name, metric in evaluated.metrics.items()}
    assert (better["log_likelihood"], better["kl"], better["bits_per_dim"]) == ("higher", None, "lower")


def test_the_outcome_of_a_trial_is_read(written: Path) -> None:
    outcome = trial.read(written / "trial")
    assert (outcome.status, outcome.best_epoch, len(outcome.elbo)) == ("finished", 3, 3)


def test_a_folder_that_is_read_and_written_again_says_the_same(written: Path, tmp_path: Path) -> None:
    before = manifests.load(str(written / "dataset"))
    (tmp_path / "dataset.json").write_text(before.to_json(), encoding="utf-8")
    assert manifests.load(str(tmp_path)) == before
    assert json.loads(before.to_json())["format"] == 3


@pytest.mark.parametrize("kind", ["model", "evaluation"])
def test_a_folder_is_copied_as_it_is(written: Path, kind: str, tmp_path: Path) -> None:
    for _ in ("into a new folder", "over the same"):
        artifacts.copy(written / kind, kind, tmp_path / kind)
    assert artifacts.load(tmp_path / kind, kind) == artifacts.load(written / kind, kind)


@pytest.mark.parametrize(
    ("kind", "read"), [("model", folder.load), ("evaluation", evaluations.load), ("dataset", open_dataset)]
)
def test_a_newer_format_is_refused_in_one_sentence(
    written: Path, kind: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    copied = shutil.copytree(written / kind, tmp_path / kind)
    manifest = copied / f"{kind}.json"
    newer = re.sub(r'"format": \d', '"format": 9', manifest.read_text(encoding="utf-8"), count=1)
    manifest.write_text(newer, encoding="utf-8")
    with pytest.raises(WorkError, match=r"json was written by a newer ELBOflow: its format is 9; this version reads"):
        read(copied)


@pytest.mark.slow
def test_the_model_is_worth_what_its_evaluation_said(written: Path) -> None:
    facts = evaluations.load(written / "evaluation").facts
    before = rescoring.read(written / "evaluation/examples.npz", "log_likelihood")
    now = rescoring.rescore(written / "dataset", written / "model", facts.evaluation, facts.seed, "log_likelihood")
    np.testing.assert_array_equal(now.keys, before.keys)
    np.testing.assert_allclose(now.of_example, before.of_example, atol=1e-3)


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
@pytest.mark.usefixtures("tensorflow_backend")
def test_a_training_goes_on_from_a_checkpoint_to_the_same_weights(
    written: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from components.train import train
    from elboflow.vae.model import variables
    from elboflow.vae.training import fingerprint

    (old,) = (written / "stopped/checkpoints").iterdir()
    shutil.copytree(old, tmp_path / "model/checkpoints" / old.name)
    trained = folder.load(written / "model")
    same = fingerprint.fingerprint(DATASETS[written.name], trained.config, trained.provenance.training, seed=0)
    assert fingerprint.differences(json.loads((old / "state.json").read_text(encoding="utf-8"))["identity"], same) == []
    with caplog.at_level("INFO", "elboflow"):
        train(written / "dataset", tmp_path / "model", trained.config, trained.provenance.training, seed=0)
    assert "step 6" in caplog.text
    ours_and_theirs = variables(folder.load(tmp_path / "model").model), variables(trained.model)
    for ours, theirs in zip(*ours_and_theirs, strict=True):
        np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=1e-4, atol=1e-5)


@pytest.mark.xdist_group("tensorflow")
@pytest.mark.usefixtures("tensorflow_backend")
def test_the_model_generates_images(written: Path) -> None:
    from elboflow.vae.evaluation import samples

    images = samples.generate(folder.load(written / "model").model, 4, seed=0)["image"]
    assert images.shape == (4, 8, 8, 1)
    assert np.isfinite(images).all()
