"""What is recorded of a run is what made its folders; an experiment that contradicts them is refused, by key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.binding.agreement import check_dataset
from components.preprocess import preprocess
from components.tracking import store
from elboflow import artifacts
from elboflow.settings import RequestError
from elboflow.vae.config import TrainingConfig
from preprocessing.config import DataConfig
from tests.components.runs import EXPERIMENT, QUICK_EVALUATION, Run

pytestmark = pytest.mark.xdist_group("mlflow")

DIGITS = DataConfig.model_validate({"source": "sklearn"})


def whole(run: Run) -> dict[str, Any]:
    """The experiment that made a run, with every section."""
    facts = artifacts.load(run.model, "model")
    return {
        "name": "digits",
        "seed": facts["provenance"]["seed"],
        "data": DIGITS.model_dump(mode="json"),
        "model": facts["model"],
        "training": facts["provenance"]["training"],
        "evaluation": QUICK_EVALUATION.model_dump(mode="json"),
    }


def test_the_experiment_that_made_the_folders_is_recorded(
    written: Callable[..., Run], values: np.ndarray, tracking_uri: str
):
    run = written("night-1", values, seed=3)
    registered = run.register(tracking_uri, whole(run))
    params = store.connect(tracking_uri).get_run(registered.run_id).data.params
    assert (params["seed"], params["model.encoder.hidden"], params["evaluation.bound_samples"]) == ("3", "[32]", "5")


@pytest.mark.parametrize(
    ("section", "change", "said"),
    [
        ("model", {"latent": 8}, "model.latent is 4; the experiment says 8"),
        ("model", {"encoder": "mlp"}, "model.encoder.hidden is [32]; the experiment says [256, 256]"),
        ("training", {"epochs": 5}, "training.epochs is 50; the experiment says 5"),
        ("evaluation", {"bound_samples": 9}, "evaluation.bound_samples is 5; the experiment says 9"),
        (
            "data",
            {"splits": {"train": 0.5, "validation": 0.25, "test": 0.25}},
            "the experiment says 'test 0.25, train 0.5, ",
        ),
        ("data", {"splits": {"train": 0.5, "test": 0.5}}, "data.splits is "),
        (
            "data",
            {"features": {"image": {"kind": "image", "shape": [8, 8, 1], "range": [0, 255]}}},
            "image.range is [0",
        ),
    ],
)
def test_a_setting_that_made_no_folder_is_refused_with_both_values(
    section: str,
    change: dict[str, Any],
    said: str,
    written: Callable[..., Run],
    values: np.ndarray,
    tracking_uri: str,
):
    run = written("night-1", values)
    experiment = whole(run)
    with pytest.raises(RequestError, match="is not the one that made these folders") as refused:
        run.register(tracking_uri, {**experiment, section: {**experiment[section], **change}})
    assert said in str(refused.value)
    assert store.connect(tracking_uri).get_experiment_by_name("digits") is None


def test_all_that_differs_is_listed(written: Callable[..., Run], values: np.ndarray, tracking_uri: str):
    run = written("night-1", values)
    other = {**whole(run), "seed": 1, "training": TrainingConfig(epochs=5, batch_size=7).model_dump(mode="json")}
    with pytest.raises(RequestError) as refused:
        run.register(tracking_uri, other)
    lines = str(refused.value).splitlines()
    assert [line.strip() for line in lines[1:-1]] == [
        f"{run.model}: training.epochs is 50; the experiment says 5",
        f"{run.model}: training.batch_size is 128; the experiment says 7",
        f"{run.model}: seed is 0; the experiment says 1",
        f"{run.evaluation}: seed is 0; the experiment says 1",
    ]


def test_an_experiment_of_an_older_version_that_lacks_a_setting_agrees(
    written: Callable[..., Run], values: np.ndarray, tracking_uri: str
):
    run = written("night-1", values)
    assert run.register(tracking_uri, {**EXPERIMENT, "training": {"epochs": 50}}).promoted


def test_a_dataset_of_other_images_is_not_that_of_the_experiment(tmp_path: Path):
    np.savez(tmp_path / "x.npz", image=np.random.default_rng(0).integers(0, 17, (300, 8, 8, 1)))
    image = {"kind": "image", "shape": [8, 8, 1], "range": [0, 16]}
    source = {"kind": "npz", "path": str(tmp_path / "x.npz")}
    preprocess(DataConfig.model_validate({"source": source, "features": {"image": image}}), tmp_path / "other")
    with pytest.raises(RequestError) as refused:
        check_dataset("digits", DIGITS, tmp_path / "other")
    assert "data.source.kind is 'npz'; the experiment says 'sklearn'" in str(refused.value)
    assert "data.features.label is (not there); the experiment says 'category'" in str(refused.value)


def test_the_dataset_of_the_experiment_is_taken_whatever_the_number_of_workers(dataset: Path):
    check_dataset("digits", DIGITS.model_copy(update={"workers": 7}), dataset)


def npz(path: Path, seed: int = 0) -> DataConfig:
    """Writes random images; returns what makes a dataset of them."""
    np.savez(path, image=np.random.default_rng(seed).integers(0, 17, (300, 8, 8, 1)))
    return named(path)


def named(path: Path) -> DataConfig:
    image = {"kind": "image", "shape": [8, 8, 1], "range": [0, 16]}
    return DataConfig.model_validate({"source": {"kind": "npz", "path": str(path)}, "features": {"image": image}})


def test_a_dataset_of_another_file_of_the_same_kind_and_shape_is_refused_by_its_name(tmp_path: Path):
    preprocess(npz(tmp_path / "a.npz"), tmp_path / "dataset")
    for other in (npz(tmp_path / "b.npz", seed=1), named(tmp_path / "not-there.npz")):
        with pytest.raises(
            RequestError, match=r"data\.source is 'a\.npz: image'; the experiment says '(b|not-there)\.npz"
        ):
            check_dataset("night", other, tmp_path / "dataset")


def test_the_same_content_under_another_name_is_the_same_source(tmp_path: Path):
    preprocess(npz(tmp_path / "a.npz"), tmp_path / "dataset")
    (tmp_path / "a.npz").rename(tmp_path / "b.npz")
    check_dataset("night", named(tmp_path / "b.npz"), tmp_path / "dataset")
    check_dataset("night", named(tmp_path / "elsewhere" / "a.npz"), tmp_path / "dataset")  # not here: known by its name


def test_a_source_that_has_changed_since_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("WARNING", "elboflow")
    preprocess(npz(tmp_path / "a.npz"), tmp_path / "dataset")
    check_dataset("night", npz(tmp_path / "a.npz", seed=1), tmp_path / "dataset")
    assert f"a.npz: image has changed since {tmp_path / 'dataset'} was made" in caplog.text


def test_what_is_found_in_the_data_is_no_difference_of_settings(tmp_path: Path):
    (tmp_path / "x.txt").write_text("\n".join(f"line {n}" for n in range(300)), encoding="utf-8")

    def lines(**tokens: Any) -> DataConfig:
        source = {"kind": "text", "path": str(tmp_path / "x.txt")}
        features = {"text": {"kind": "tokens", **tokens}, "file": {"kind": "category", "unknown": "other"}}
        return DataConfig.model_validate({"source": source, "features": features})

    preprocess(lines(length=20), tmp_path / "dataset")
    with pytest.raises(RequestError) as refused:
        check_dataset("lines", lines(length=30, unit="bytes"), tmp_path / "dataset")
    differences = str(refused.value).splitlines()[1:-1]
    assert [line.strip() for line in differences] == [
        f"{tmp_path / 'dataset'}: data.features.text.unit is 'characters'; the experiment says 'bytes'"
    ]


def test_a_feature_of_another_kind_is_told_by_its_kinds(tmp_path: Path):
    (tmp_path / "x.csv").write_text("x\n" + "\n".join(map(str, range(300))), encoding="utf-8")

    def column(kind: str) -> DataConfig:
        source = {"kind": "csv", "path": str(tmp_path / "x.csv")}
        return DataConfig.model_validate({"source": source, "features": {"x": kind}})

    preprocess(column("number"), tmp_path / "dataset")
    with pytest.raises(RequestError, match=r"data\.features\.x\.kind is 'number'; the experiment says 'category'"):
        check_dataset("lines", column("category"), tmp_path / "dataset")


def test_a_folder_of_images_is_known_by_the_names_of_its_files_wherever_it_is(tmp_path: Path):
    config = idx_folder(tmp_path / "mnist")
    preprocess(config, tmp_path / "dataset")
    (tmp_path / "mnist").rename(tmp_path / "elsewhere")
    check_dataset("night", config, tmp_path / "dataset")


def idx_folder(folder: Path) -> DataConfig:
    """Writes random images in MNIST's layout; returns what makes a dataset of them."""
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (300, 4, 4)).astype(np.uint8)
    header = bytes([0, 0, 8, 3]) + np.array(images.shape, ">u4").tobytes()
    (folder / "train-images-idx3-ubyte").write_bytes(header + images.tobytes())
    image = {"kind": "image", "shape": [4, 4, 1], "range": [0, 255]}
    source = {"kind": "idx", "path": str(folder)}
    return DataConfig.model_validate({"source": source, "features": {"image": image}})
