"""The digest of an experiment's JSON values: what a run, a trial and a sweep are known by."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from components.config import RegistryConfig
from elboflow.settings import Settings
from elboflow.settings.digest import digest
from elboflow.settings.kinds import origins
from elboflow.vae.config import TrainingConfig
from elboflow.vae.evaluation.config import EvaluationConfig
from elboflow.vae.model import ModelConfig
from preprocessing.config import DataConfig

_SECTIONS: dict[str, type[Settings]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
    "evaluation": EvaluationConfig,
    "registry": RegistryConfig,
}


def kinds(experiment: Mapping[str, Any]) -> dict[str, str]:
    """Returns what an experiment has from other installed packages: distribution and version by `GROUP:KIND`."""
    return origins(_parsed(experiment))


def experiment_digest(experiment: Mapping[str, Any], only: Collection[str] | None = None) -> str:
    """Returns the SHA-256 of an experiment, in which a value that is a default counts as one that is not written.

    Args:
        experiment: What `Experiment.recorded()` returns.
        only: The keys that count; None: all.
    """
    values = dict(experiment) if only is None else {name: experiment[name] for name in only}
    return digest(_parsed(values))


def _parsed(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an experiment with its sections as settings."""
    values = dict(experiment)
    for name, section in _SECTIONS.items():
        if name in values:
            with suppress(ValidationError):  # of another version, which knows other settings: it stays as it is
                values[name] = section.model_validate(values[name])
    return values
