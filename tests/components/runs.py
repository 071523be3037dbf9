"""Finished runs to register, written by hand where no network is needed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.config import RegistryConfig
from components.register import Registration, register
from elboflow import artifacts
from elboflow.vae.config import TrainingConfig
from elboflow.vae.evaluation.config import EvaluationConfig
from elboflow.vae.evaluation.folder import FORMAT as EVALUATION_FORMAT
from elboflow.vae.evaluation.metrics import NATS
from elboflow.vae.families.flat import Flat
from elboflow.vae.folder import FORMAT as MODEL_FORMAT
from elboflow.vae.model import ModelConfig
from preprocessing.reader import open_dataset
from tests.opened import examples

SMALL_MODEL = ModelConfig.model_validate({"latent": 4, "encoder": {"kind": "mlp", "hidden": [32]}})
SHORT_TRAINING = TrainingConfig(epochs=2)
QUICK_EVALUATION = EvaluationConfig(bound_samples=5, bootstrap_samples=100)
EXPERIMENT: dict[str, Any] = {
    "name": "digits",
    "seed": 0,
    "model": {"latent": 4, "encoder": {"kind": "mlp", "hidden": [32]}},
}


@dataclass(frozen=True)
class Run:
    """What the steps before registration leave behind."""

    name: str
    dataset: Path
    model: Path
    evaluation: Path

    def register(
        self, tracking_uri: str, experiment: dict[str, Any] | None = None, registry: RegistryConfig | None = None
    ) -> Registration:
        folders = self.dataset, self.model, self.evaluation
        registry = registry or RegistryConfig()
        return register(*folders, registry, experiment or self.experiment, self.name, tracking_uri)

    @property
    def experiment(self) -> dict[str, Any]:
        """EXPERIMENT, with what this run was made with instead."""
        facts = artifacts.load(self.model, "model")
        usual = Flat().model_dump(mode="json")
        other = {key: facts["model"][key] for key in ("input", "likelihood") if facts["model"][key] != usual[key]}
        return {**EXPERIMENT, "seed": facts["provenance"]["seed"], "model": {**EXPERIMENT["model"], **other}}


def write(
    run: Run,
    log_likelihood: np.ndarray,
    likelihood: str,
    seed: int,
    input: str = "image",
    distance: np.ndarray | None = None,
) -> Run:
    """Writes a run's folders as they are, except that the network's file holds the run's name instead of a network.

    A distance is another metric of each example, of which less is better.
    """
    model = ModelConfig.model_validate({**EXPERIMENT["model"], "input": input, "likelihood": likelihood})
    _write_model(run, model, run.name.encode(), seed)
    columns = {"log_likelihood": log_likelihood} | ({} if distance is None else {"distance": distance})
    _write_evaluation(run, columns, seed)
    return run


def _write_model(run: Run, model: ModelConfig, network: bytes, seed: int) -> None:
    run.model.mkdir(parents=True)
    columns = {"epoch": [1, 2], "step": [11, 22], "elbo": [-40.0, -30.0]}
    (run.model / "model.keras").write_bytes(network)
    (run.model / "curves.json").write_text(json.dumps({"train": columns, "validation": columns}), encoding="utf-8")
    provenance = {
        "seed": seed,
        "training": TrainingConfig().model_dump(mode="json"),
        "dataset": _digest(run),
        "code": "0" * 40,
    }
    facts = {
        "format": MODEL_FORMAT.newest,
        "model": model.model_dump(mode="json"),
        "features": {name: _spec(run, name) for name in model.features},
        "provenance": provenance,
        "parameters": 1000,
        "best_epoch": 2,
        "epochs": 2,
    }
    artifacts.commit(run.model, "model", facts, ["model.keras", "curves.json"])


def _write_evaluation(run: Run, columns: Mapping[str, Any], seed: int) -> None:
    run.evaluation.mkdir(parents=True)
    input = artifacts.load(run.model, "model")["model"]["input"]
    keys = examples(run.dataset, "test", input).keys
    np.savez(run.evaluation / "examples.npz", key=keys, **columns)
    estimate = {"value": -30.0, "low": -31.0, "high": -29.0}
    told: dict[str, dict[str, str]] = {
        **{name: {"better": "higher", "unit": NATS} for name in ("elbo", "reconstruction", "log_likelihood")},
        "kl": {"unit": NATS},
        "bits_per_dim": {"better": "lower"},
        "active_units": {},
    }
    metrics: dict[str, Any] = {name: estimate | said for name, said in told.items()}
    if "distance" in columns:
        metrics["distance"] = {**estimate, "title": "distance", "better": "lower"}
    (run.evaluation / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (run.evaluation / "report.html").write_text("<!doctype html><title>a report</title>", encoding="utf-8")
    facts: dict[str, Any] = {
        "format": EVALUATION_FORMAT.newest,
        "examples": len(keys),
        "seed": seed,
        "evaluation": QUICK_EVALUATION.model_dump(mode="json"),
        "data": {"dataset": _digest(run), "counts": {"test": len(keys)}},
        "metrics": dict.fromkeys(told, -30.0),
        "weights": artifacts.sha256(run.model / "model.keras"),
    }
    artifacts.commit(run.evaluation, "evaluation", facts, ["examples.npz", "metrics.json", "report.html"])


def _spec(run: Run, feature: str) -> dict[str, Any]:
    return open_dataset(run.dataset).manifest.features[feature].model_dump(mode="json")


def _digest(run: Run) -> str:
    return open_dataset(run.dataset).manifest.digest
