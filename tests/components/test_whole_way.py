"""The steps one after the other with a real training, and what a person does with the model then."""

import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.config import RegistryConfig
from components.evaluate import evaluate
from components.predict import generate, reconstruct
from components.preprocess import preprocess
from components.register import register
from components.registry.resolve import resolve
from components.train import Monitoring, train
from elboflow import artifacts
from elboflow.settings import RequestError, WorkError
from elboflow.vae import folder
from preprocessing.config import DataConfig
from tests.components.runs import EXPERIMENT, QUICK_EVALUATION, SHORT_TRAINING, SMALL_MODEL, Champion, Run
from tests.opened import examples, opened

pytestmark = pytest.mark.xdist_group("tensorflow")

NOWHERE = "sqlite:///nowhere/mlflow.db"


@pytest.fixture(scope="session")
def other_shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 6×6 images."""
    source = tmp_path_factory.mktemp("other")
    np.savez(source / "x.npz", image=np.random.default_rng(0).integers(0, 17, (200, 6, 6, 1)))
    features = {"image": {"kind": "image", "shape": [6, 6, 1], "range": [0, 16]}}
    config = {"source": {"kind": "npz", "path": str(source / "x.npz")}, "features": features}
    preprocess(DataConfig.model_validate(config), source / "dataset")
    return source / "dataset"


def test_a_model_folder_says_where_it_comes_from(trained: Run) -> None:
    found = folder.load(trained.model)
    assert found.config == SMALL_MODEL
    assert found.provenance.training == SHORT_TRAINING
    assert found.provenance.dataset == opened(trained.dataset).manifest.digest
    assert found.specs["image"].levels == 17
    assert found.specs["image"].facts == {"range": [0, 16]}


@pytest.mark.slow
def test_training_the_same_again_keeps_the_model_and_another_training_replaces_it_only_if_it_is_told_to(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("components.train.code_version", lambda: "a clean commit")
    with caplog.at_level(logging.INFO):
        first = train(trained.dataset, tmp_path, SMALL_MODEL, SHORT_TRAINING, seed=0)
        assert "kept the model" not in caplog.text
        again = train(trained.dataset, tmp_path, SMALL_MODEL, SHORT_TRAINING, seed=0)
        assert "kept the model" in caplog.text
    assert first == again == folder.load(tmp_path)
    settings = SHORT_TRAINING.model_copy(update={"epochs": 1})
    for training, seed, named in ((SHORT_TRAINING, 1, "seed"), (settings, 1, "training settings and seed")):
        with pytest.raises(RequestError, match=f"holds a finished model of other {named}; --restart replaces it"):
            train(trained.dataset, tmp_path, SMALL_MODEL, training, seed)
    assert folder.load(tmp_path) == first
    other = train(trained.dataset, tmp_path, SMALL_MODEL, SHORT_TRAINING, seed=1, restart=True)
    assert other is not None
    assert other.provenance.seed == folder.load(tmp_path).provenance.seed == 1


def test_the_same_training_again_gives_the_same_bytes_and_is_recognised(
    trained: Run, tracking_uri: str, tmp_path: Path
) -> None:
    time.sleep(2.1)  # a zip archive tells times two seconds apart
    again = Run("again", trained.dataset, tmp_path / "model", tmp_path / "evaluation")
    train(again.dataset, again.model, SMALL_MODEL, SHORT_TRAINING, seed=0)
    evaluate(again.dataset, again.model, again.evaluation, QUICK_EVALUATION, seed=0)
    assert (again.model / folder.MODEL).read_bytes() == (trained.model / folder.MODEL).read_bytes()
    trained.register(tracking_uri)
    registered = again.register(tracking_uri)
    assert (registered.version, registered.promoted) == (2, False)
    assert registered.reason == "has the same weights as version 1, the champion"


def test_a_wrong_request_leaves_the_model_and_a_training_that_fails_leaves_none_to_be_taken_for_its_own(
    trained: Run, tmp_path: Path
) -> None:
    shutil.copytree(trained.model, tmp_path, dirs_exist_ok=True)
    too_large = SHORT_TRAINING.model_copy(update={"batch_size": 10_000})
    with pytest.raises(RequestError, match="batch_size is 10000; the train split holds"):
        train(trained.dataset, tmp_path, SMALL_MODEL, too_large, seed=0, restart=True)
    assert folder.load(tmp_path).provenance.training == SHORT_TRAINING

    def broken(epoch: int, elbo: float) -> bool:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        train(
            trained.dataset, tmp_path, SMALL_MODEL, SHORT_TRAINING, 1, restart=True, monitoring=Monitoring(watch=broken)
        )
    with pytest.raises(WorkError, match="not a finished model folder"):
        folder.load(tmp_path)


def test_an_input_that_is_no_image_is_refused(trained: Run, tmp_path: Path) -> None:
    model = SMALL_MODEL.model_copy(update={"input": "label"})
    with pytest.raises(
        RequestError,
        match=r"likelihood: 'bernoulli' models arrays of levels, as images are; 'label' is of kind category",
    ):
        train(trained.dataset, tmp_path, model, SHORT_TRAINING, seed=0)


def test_a_model_of_another_shape_is_refused_with_both_shapes(trained: Run, other_shape: Path, tmp_path: Path) -> None:
    shapes = r"'image' of shape \[8, 8, 1\] with 17 levels; .* shape \[6, 6, 1\] with 17 levels"
    with pytest.raises(WorkError, match=shapes):
        evaluate(other_shape, trained.model, tmp_path / "evaluation", QUICK_EVALUATION, seed=0)
    with pytest.raises(WorkError, match=shapes):
        reconstruct(trained.model, other_shape, tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_other_data_is_evaluated_with_a_warning(
    trained: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "dataset"
    splits = {"train": 0.5, "validation": 0.2, "test": 0.3}
    made = preprocess(DataConfig.model_validate({"source": "sklearn", "splits": splits}), other)
    evaluated = evaluate(made.folder, trained.model, tmp_path / "evaluation", QUICK_EVALUATION, seed=0)
    assert evaluated.facts.data.dataset == made.manifest.digest
    assert evaluated.metrics["elbo"].value == evaluated.facts.metrics["elbo"]
    assert "may hold examples that the model was trained on" in caplog.text


def test_a_damaged_model_is_named(trained: Run, tmp_path: Path) -> None:
    damaged = shutil.copytree(trained.model, tmp_path / "model")
    (damaged / "model.keras").write_bytes(b"damaged")
    with pytest.raises(WorkError, match=r"the model folder cannot be used: .*model\.keras holds 7 bytes"):
        evaluate(trained.dataset, damaged, tmp_path / "evaluation", QUICK_EVALUATION, seed=0)
    with pytest.raises(WorkError, match=r"the model folder cannot be used: .*model\.keras holds 7 bytes"):
        generate(damaged, tmp_path / "x.npz")


@pytest.mark.slow
def test_a_champion_of_other_conditions_is_rescored_on_the_newcomers_examples(
    trained: Run, tracking_uri: str, tmp_path: Path
) -> None:
    longer = Run("longer", trained.dataset, tmp_path / "model", tmp_path / "evaluation")
    other_bits = 7
    train(longer.dataset, longer.model, SMALL_MODEL, SHORT_TRAINING.model_copy(update={"epochs": 20}), seed=other_bits)
    evaluate(longer.dataset, longer.model, longer.evaluation, QUICK_EVALUATION, seed=other_bits)
    trained.register(tracking_uri)  # evaluated with seed 0
    registered = longer.register(tracking_uri, {**EXPERIMENT, "seed": other_bits})

    rescored = tmp_path / "rescored"
    evaluate(trained.dataset, trained.model, rescored, QUICK_EVALUATION, seed=other_bits)
    with np.load(longer.evaluation / "examples.npz") as ours, np.load(rescored / "examples.npz") as theirs:
        difference = np.mean(ours["log_likelihood"] - theirs["log_likelihood"])
    assert registered.promoted
    assert f"better than version 1, the champion: {difference:+.3f} nats" in registered.reason


@pytest.mark.slow
def test_a_model_of_another_shape_is_not_compared_with_the_champion(
    trained: Run, other_shape: Path, tracking_uri: str, tmp_path: Path
) -> None:
    trained.register(tracking_uri)
    small = Run("small", other_shape, tmp_path / "model", tmp_path / "evaluation")
    train(small.dataset, small.model, SMALL_MODEL, SHORT_TRAINING.model_copy(update={"batch_size": 32}), seed=0)
    evaluate(small.dataset, small.model, small.evaluation, QUICK_EVALUATION, seed=0)
    registered = small.register(tracking_uri)
    assert not registered.promoted
    assert (
        "it models 'image' of shape [6, 6, 1] with 17 levels, the champion 'image' of shape [8, 8, 1] with 17 levels"
        in registered.reason
    )


def test_images_are_generated_into_an_archive_in_the_datas_own_range(trained: Run, tmp_path: Path) -> None:
    images = generate(trained.model, tmp_path / "x.npz", count=10, seed=3)["image"]
    assert images.shape == (10, 8, 8, 1)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as written:
        np.testing.assert_allclose(written["image"], images, rtol=1e-6)
        np.testing.assert_array_equal(written["code"], np.rint(images).astype(np.uint8))
    fewer = generate(trained.model, tmp_path / "y.npz", count=3, seed=3)["image"]
    np.testing.assert_allclose(fewer, images[:3], atol=1e-5)


def test_images_are_generated_into_a_grid(trained: Run, tmp_path: Path) -> None:
    generate(trained.model, tmp_path / "grid.png", count=9)
    with Image.open(tmp_path / "grid.png") as grid:
        width, height = grid.size
    assert width == height > 3 * 8


def test_reconstructions_stand_beside_their_originals(trained: Run, tmp_path: Path) -> None:
    made = reconstruct(trained.model, trained.dataset, tmp_path / "x.npz", split="validation", count=5)
    originals = examples(trained.dataset, "validation").features["image"][:5]
    with np.load(tmp_path / "x.npz", allow_pickle=False) as written:
        np.testing.assert_allclose(written["image"], made["image"], rtol=1e-6)
        np.testing.assert_array_equal(written["original_code"], originals)
        np.testing.assert_allclose(written["original"], originals, rtol=1e-6)
    reconstruct(trained.model, trained.dataset, tmp_path / "x.png", count=5)
    with Image.open(tmp_path / "x.png") as grid:
        assert grid.size[0] > grid.size[1]


@pytest.mark.parametrize(
    ("output", "count", "message"),
    [
        ("x.jpg", 4, r"examples are written as \.png, \.txt, \.csv or \.npz; '.*x\.jpg' is none of these"),
        ("x", 4, "is none of these"),
        ("x.txt", 4, r"the model's image \(image\) cannot be written as \.txt; write \.png or \.npz"),
        ("absent/x.png", 4, "there is no folder .*absent"),
        ("x.png", 0, "the number of examples is 0; at least 1 is expected"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused(
    trained: Run, tmp_path: Path, output: str, count: int, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        generate(trained.model, tmp_path / output, count)


def test_a_split_that_is_not_there_is_named(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="has no split 'tset'; it has"):
        reconstruct(trained.model, trained.dataset, tmp_path / "x.npz", split="tset")


def test_model_is_a_folder_a_run_or_a_name_in_mlflow(trained: Run, champion: Champion) -> None:
    runs = trained.model.parent.parent
    weights = artifacts.sha256(trained.model / "model.keras")
    for model in (
        str(trained.model),
        str(trained.model.parent),
        trained.model.parent.name,
        "models:/digits-vae@champion",
        "models:/digits-vae/1",
        f"runs:/{champion.registration.run_id}",
    ):
        found = resolve(model, runs, champion.tracking_uri)
        assert artifacts.sha256(found / "model.keras") == weights, model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("models:/digits@champion", "there is no registered model 'digits'; did you mean 'digits-vae'"),
        ("models:/digits-vae@champ", "no version with the alias 'champ'; did you mean 'champion'"),
        ("models:/digits-vae/7", "digits-vae has no version '7'; allowed: 1"),
        ("models:/digits-vae", "names no version; write models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("runs:/abc", "there is no MLflow run 'abc'"),
    ],
)
def test_a_name_that_is_not_in_mlflow_is_answered_with_those_that_are(
    champion: Champion, tmp_path: Path, model: str, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        resolve(model, tmp_path, champion.tracking_uri)


def test_a_run_that_is_not_there_is_answered_with_those_that_are(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "night-1/train").mkdir(parents=True)
    (tmp_path / "night-1/train/model.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RequestError, match=r"there is no model 'night-2'; .* Runs: allowed: .*night-1"):
        resolve("night-2", tmp_path, NOWHERE)
    with pytest.raises(RequestError, match="'unfinished' holds no finished model"):
        resolve("unfinished", tmp_path, NOWHERE)
    with pytest.raises(RequestError, match="there is no MLflow at"):
        resolve("models:/digits-vae@champion", tmp_path, NOWHERE)
    assert not Path("nowhere").exists()


def test_the_registered_name_can_be_chosen(trained: Run, tracking_uri: str) -> None:
    folders = trained.dataset, trained.model, trained.evaluation
    registered = register(
        *folders, RegistryConfig(model="My model", canary=False, baseline=False), {"name": "digits"}, "r", tracking_uri
    )
    assert (registered.model, registered.version) == ("My model", 1)
    assert replace(registered, run_id="").tracking_uri == tracking_uri
