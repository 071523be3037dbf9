"""The digest of an experiment's JSON values, which identifies runs, trials and sweeps."""

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
    """Returns the installed packages whose kinds an experiment uses: distribution and version by `GROUP:KIND`."""
    return origins(_parsed(experiment))


def experiment_digest(experiment: Mapping[str, Any], only: Collection[str] | None = None) -> str:
    """Returns the SHA-256 of an experiment. A setting at its default has the same digest as an absent setting.

    Args:
        experiment: The result of `Experiment.recorded()`.
        only: The keys to hash; None for all that results depend on, and so for all but the tags of runs.
    """
    keys = [name for name in experiment if name != "tags"] if only is None else only
    values = {name: experiment[name] for name in keys}
    return digest(_parsed(values))


def _parsed(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an experiment whose sections are parsed to settings."""
    values = dict(experiment)
    for name, section in _SECTIONS.items():
        if name in values:
            with suppress(ValidationError):  # a section of another version with other settings stays unparsed
                values[name] = section.model_validate(values[name])
    return values
