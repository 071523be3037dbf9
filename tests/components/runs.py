"""Finished runs to register, with values of the examples that a test chooses where it needs no network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.config import RegistryConfig
from components.register import Registration, register
from elboflow import artifacts
from elboflow.vae import folder as models
from elboflow.vae.config import TrainingConfig
from elboflow.vae.curves import Curves
from elboflow.vae.evaluation import folder as evaluations
from elboflow.vae.evaluation.config import EvaluationConfig
from elboflow.vae.evaluation.evaluators import Result
from elboflow.vae.evaluation.metrics import NATS, Metric
from elboflow.vae.families.flat import Flat
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
        self,
        tracking_uri: str,
        experiment: dict[str, Any] | None = None,
        registry: RegistryConfig | None = None,
        report: Path | None = None,
        date: str | None = None,
    ) -> Registration:
        folders = self.dataset, self.model, self.evaluation
        registry = registry or RegistryConfig(canary=False, baseline=False)  # the network may be a file of any bytes
        made_of = experiment or self.experiment
        return register(*folders, registry, made_of, self.name, tracking_uri, report=report, date=date)

    @property
    def experiment(self) -> dict[str, Any]:
        """EXPERIMENT, with what this run was made with instead."""
        facts = artifacts.load(self.model, "model")
        usual = Flat().model_dump(mode="json")
        other = {key: facts["model"][key] for key in ("input", "likelihood") if facts["model"][key] != usual[key]}
        return {**EXPERIMENT, "seed": facts["provenance"]["seed"], "model": {**EXPERIMENT["model"], **other}}


@dataclass(frozen=True)
class Champion:
    """A registered run, whose model is the champion.

    Attributes:
        tracking_uri: The MLflow that holds it.
        registration: What its registration returned.
        files: The files of the MLflow model.
    """

    tracking_uri: str
    registration: Registration
    files: Path


def write(
    run: Run,
    log_likelihood: np.ndarray,
    likelihood: str,
    seed: int,
    input: str = "image",
    distance: np.ndarray | None = None,
    baseline: np.ndarray | None = None,
) -> Run:
    """Writes a run's folders as the steps do, but the network's file holds the run's name instead of a network.

    Args:
        run: The run.
        log_likelihood: The metric of each example that decides, `[examples]`.
        likelihood: The kind of likelihood.
        seed: The seed of training and evaluation.
        input: The feature that is modelled.
        distance: Another metric of each example, of which less is better.
        baseline: The baseline of each example; None for an evaluation without one.
    """
    config = ModelConfig.model_validate({**EXPERIMENT["model"], "input": input, "likelihood": likelihood})
    manifest = open_dataset(run.dataset).manifest
    curves = Curves()
    for epoch, elbo in ((1, -40.0), (2, -30.0)):
        for group in ("train", "validation"):
            curves.add(group, epoch=epoch, step=11 * epoch, elbo=elbo)
    specs = {name: manifest.features[name] for name in config.features}
    provenance = models.Provenance(seed, TrainingConfig(), manifest.digest, "0" * 40)
    models.write(run.model, run.name.encode(), curves, config, specs, provenance, parameters=1000, epochs=(2, 2))

    keys = examples(run.dataset, "test", input).keys
    metrics = {
        **{name: Metric(-30, -31, -29, name, NATS, "higher") for name in ("elbo", "reconstruction", "log_likelihood")},
        "kl": Metric(5, 4, 6, "KL", NATS),
        "bits_per_dim": Metric(0.6, 0.5, 0.7, better="lower"),
        "active_units": Metric(4, 4, 4),
    }
    columns = {"log_likelihood": log_likelihood}
    if baseline is not None:
        metrics["baseline"] = Metric(-30, -31, -29, "independent values", NATS)
        columns["baseline"] = baseline
    if distance is not None:
        metrics["distance"] = Metric(1, 0, 2, "distance", better="lower")
        columns["distance"] = distance
    evaluations.save(
        run.evaluation,
        Result(metrics, columns),
        keys,
        "<!doctype html><title>a report</title><header></header>",
        evaluations.DataFacts(dataset=manifest.digest, counts={"test": len(keys)}),
        QUICK_EVALUATION,
        seed,
        models.load(run.model),
    )
    return run
