"""The fixtures for others' tests: whole artifacts, of the same run, and faults that the steps notice."""

import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from components.train import train
from elboflow.settings import WorkError
from elboflow.testing import faults
from elboflow.vae import folder as models
from elboflow.vae.evaluation import folder as evaluations
from pipelines.experiment import Experiment
from preprocessing.reader import open_dataset

OUTSIDE = """
from elboflow.testing.faults import flip_a_bit
from preprocessing.reader import open_dataset


def test_a_fixture(elboflow_dataset, elboflow_experiment):
    assert set(open_dataset(elboflow_dataset).read("test")) == {"image", "label", "key"}
    assert elboflow_experiment.name == "digits"
"""


@pytest.mark.slow
def test_tests_elsewhere_have_the_fixtures_without_a_framework(tmp_path: Path):
    (tmp_path / "test_outside.py").write_text(OUTSIDE, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "elboflow.testing.plugin",
        "-p",
        "no:cacheprovider",
        tmp_path,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, encoding="utf-8", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def flipped(folder: Path) -> None:
    faults.flip_a_bit(faults_file(folder))


def cut(folder: Path) -> None:
    faults.cut_off(faults_file(folder))


def faults_file(folder: Path) -> Path:
    return next(path for path in sorted(folder.iterdir()) if path.name.startswith("train-"))


def read_all(folder: Path) -> None:
    for split in ("train", "validation", "test"):
        open_dataset(folder).read(split)


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (flipped, "is corrupted"),
        (cut, "holds [0-9,]+ bytes"),
        (faults.uncommit, "is not a finished dataset|there is no|holds no dataset.json"),
        (faults.lose_a_file, "is missing|No such file|there is no file"),
    ],
)
def test_a_planted_fault_is_noticed_by_the_reader(
    plant: Callable[[Path], object], says: str, elboflow_dataset: Path, tmp_path: Path
):
    folder = shutil.copytree(elboflow_dataset, tmp_path / "dataset")
    open_dataset(folder).read("train")
    plant(folder)
    read = open_dataset if plant is faults.uncommit else read_all
    with pytest.raises(WorkError, match=says):
        read(folder)


def test_a_folder_that_is_no_artifact_cannot_be_uncommitted(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"holds none of dataset\.json"):
        faults.uncommit(tmp_path)


@pytest.mark.xdist_group("tensorflow")
def test_model_and_evaluation_are_of_that_dataset(
    elboflow_dataset: Path,
    elboflow_model: Path,
    elboflow_evaluation: Path,
    elboflow_experiment: Experiment,
    tmp_path: Path,
):
    model, evaluation = models.load(elboflow_model), evaluations.load(elboflow_evaluation)
    assert model.provenance.dataset == open_dataset(elboflow_dataset).manifest.digest == evaluation.facts.data.dataset
    assert evaluation.facts.weights == model.weights
    assert "Model of image" in model._repr_html_()
    assert "data:image/png;base64," in evaluation._repr_html_()
    broken = shutil.copytree(elboflow_model, tmp_path / "model")
    faults.uncommit(broken)
    wanted = elboflow_experiment
    train(elboflow_dataset, broken, wanted.model, wanted.training, wanted.seed)
    assert models.load(broken).weights == model.weights, "the same training gives the same weights"


@pytest.mark.slow
def test_the_server_is_a_real_mlflow(mlflow_server: str):
    with urllib.request.urlopen(f"{mlflow_server}/version", timeout=30) as answer:
        assert answer.read().decode().startswith("3.")
