"""A dataset, an MLflow, and finished runs to register."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.tracking import store
from tests.components.runs import QUICK_EVALUATION, SHORT_TRAINING, SMALL_MODEL, Champion, Run, write
from tests.opened import opened


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's digits; not to be changed."""
    from components.preprocess import preprocess
    from preprocessing.config import DataConfig

    folder = tmp_path_factory.mktemp("components") / "dataset"
    preprocess(DataConfig.model_validate({"source": "sklearn"}), folder)
    return folder


@pytest.fixture(scope="session")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory, tensorflow_backend: None) -> Run:
    """A run whose model was really trained and evaluated; not to be changed."""
    from components.evaluate import evaluate
    from components.train import train

    folder = tmp_path_factory.mktemp("trained")
    run = Run("trained", dataset, folder / "model", folder / "evaluation")
    train(dataset, run.model, SMALL_MODEL, SHORT_TRAINING, seed=0)
    evaluate(dataset, run.model, run.evaluation, QUICK_EVALUATION, seed=0)
    return run


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database before the first run: copied, because making one takes seconds."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    store.connect(f"sqlite:///{database}")
    return database


@pytest.fixture(scope="session")
def champion(trained: Run, empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Champion:
    """The really trained run, registered; nothing else is to be registered there."""
    workspace = tmp_path_factory.mktemp("champion")
    shutil.copy(empty_database, workspace / "mlflow.db")
    tracking_uri = f"sqlite:///{workspace}/mlflow.db"
    registration = trained.register(tracking_uri)
    (described,) = workspace.rglob("MLmodel")
    return Champion(tracking_uri, registration, described.parent)


@pytest.fixture
def tracking_uri(empty_database: Path, tmp_path: Path) -> str:
    """An MLflow of the test's own."""
    (tmp_path / "workspace").mkdir()
    shutil.copy(empty_database, tmp_path / "workspace/mlflow.db")
    return f"sqlite:///{tmp_path}/workspace/mlflow.db"


@pytest.fixture
def values(dataset: Path) -> np.ndarray:
    """Bounds of some model on the test examples, in nats."""
    count = opened(dataset).manifest.counts["test"]
    return np.random.default_rng(0).normal(-30, 5, count)


@pytest.fixture
def written(dataset: Path, tmp_path: Path) -> Callable[..., Run]:
    """Writes a run whose examples have given values: real folders, but a file of any bytes instead of a network."""

    def write_here(
        name: str, log_likelihood: np.ndarray, likelihood: str = "bernoulli", seed: int = 0, **others: Any
    ) -> Run:
        run = Run(name, dataset, tmp_path / name / "model", tmp_path / name / "evaluation")
        return write(run, log_likelihood, likelihood, seed, **others)

    return write_here
