"""A dataset, an MLflow, and finished runs to register: some trained, some written by hand where no network is needed."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import artifacts
from components import tracking
from components.config import RegistryConfig
from components.datasets import open_images
from components.register import Registration, register
from vae.config import EvaluationConfig, ModelConfig, TrainingConfig

SMALL_MODEL = ModelConfig.model_validate({"latent": 4, "encoder": {"kind": "mlp", "hidden": [32]}})
SHORT_TRAINING = TrainingConfig(epochs=2)
QUICK_EVALUATION = EvaluationConfig(bound_samples=5, bootstrap_samples=100)


@dataclass(frozen=True)
class Run:
    """What the steps before registration leave behind."""

    name: str
    dataset: Path
    model: Path
    evaluation: Path

    def register(self, tracking_uri: str) -> Registration:
        experiment = {"name": "digits", "seed": 0, "model": {"latent": 4, "encoder": {"hidden": [32]}}}
        folders = self.dataset, self.model, self.evaluation
        return register(*folders, RegistryConfig(), experiment, self.name, tracking_uri)


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
    tracking.connect(f"sqlite:///{database}")
    return database


@pytest.fixture
def tracking_uri(empty_database: Path, tmp_path: Path) -> str:
    """An MLflow of the test's own."""
    (tmp_path / "workspace").mkdir()
    shutil.copy(empty_database, tmp_path / "workspace/mlflow.db")
    return f"sqlite:///{tmp_path}/workspace/mlflow.db"


@pytest.fixture
def values(dataset: Path) -> np.ndarray:
    """Bounds of some model on the test examples, in nats."""
    count = open_images(dataset, "image").manifest.counts["test"]
    return np.random.default_rng(0).normal(-30, 5, count)


@pytest.fixture
def written(dataset: Path, tmp_path: Path) -> Callable[..., Run]:
    """Writes a run by hand: real folders, but a file of any bytes instead of a network."""

    def write(name: str, log_likelihood: np.ndarray, likelihood: str = "bernoulli", seed: int = 0) -> Run:
        run = Run(name, dataset, tmp_path / name / "model", tmp_path / name / "evaluation")
        model = ModelConfig.model_validate({"latent": 4, "likelihood": likelihood})
        _write_model(run, model, name.encode())
        _write_evaluation(run, model, log_likelihood, seed)
        return run

    return write


def _write_model(run: Run, model: ModelConfig, network: bytes) -> None:
    run.model.mkdir(parents=True)
    columns = {"epoch": [1, 2], "step": [11, 22], "elbo": [-40.0, -30.0]}
    (run.model / "model.keras").write_bytes(network)
    (run.model / "curves.json").write_text(json.dumps({"train": columns, "validation": columns}))
    provenance = {
        "seed": 0,
        "training": TrainingConfig().model_dump(mode="json"),
        "range": [0, 16],
        "dataset": _digest(run),
        "code": "0" * 40,
    }
    facts = {
        "format": 1,
        "model": model.model_dump(mode="json"),
        "image": {"shape": [8, 8, 1], "levels": 17},
        "provenance": provenance,
        "parameters": 1000,
        "best_epoch": 2,
        "epochs": 2,
    }
    artifacts.commit(run.model, "model", facts, ["model.keras", "curves.json"])


def _write_evaluation(run: Run, model: ModelConfig, log_likelihood: np.ndarray, seed: int) -> None:
    run.evaluation.mkdir(parents=True)
    keys = open_images(run.dataset, "image").examples("test").keys
    np.savez(run.evaluation / "examples.npz", key=keys, log_likelihood=log_likelihood)
    estimate = {"value": -30.0, "low": -31.0, "high": -29.0}
    names = ("elbo", "reconstruction", "kl", "log_likelihood", "bits_per_dim", "active_units")
    (run.evaluation / "metrics.json").write_text(json.dumps(dict.fromkeys(names, estimate)))
    (run.evaluation / "report.html").write_text("<!doctype html><title>a report</title>")
    facts: dict[str, Any] = {
        "format": 1,
        "seed": seed,
        "evaluation": QUICK_EVALUATION.model_dump(mode="json"),
        "data": {"dataset": _digest(run)},
        "model": model.model_dump(mode="json"),
    }
    artifacts.commit(run.evaluation, "evaluation", facts, ["examples.npz", "metrics.json", "report.html"])


def _digest(run: Run) -> str:
    return open_images(run.dataset, "image").manifest.digest
