"""The fingerprint of a training: all inputs that determine its weights.

Two trainings with the same fingerprint end with the same weights, and can use each other's checkpoints.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from elboflow.settings.digest import canonical
from elboflow.vae.config import TrainingConfig
from elboflow.vae.model import ModelConfig

_WITHOUT_INFLUENCE = {
    "device",  # a preempted machine may be replaced by another kind: only rounding (and PyTorch's noise) changes
    "gpu",  # limits memory only
    "parallel",  # global batches, their order and their noise do not depend on the number of devices
    "checkpoints",  # decides when the state is written, not what is computed
    "tensorboard",  # only a copy of the curves
    "max_minutes",  # changes no step: a training that ran out of time resumes with a larger limit
}
"""Settings of the training that may change between a checkpoint and its resumption.

All others change the result, or the meaning of a checkpoint: `epochs` and `max_steps` end the schedule, `micro_batches`
and `precision` change the rounding of every step, `backend` changes the noise, and `memory_megabytes` can change which
examples are in the same batch.
"""


def fingerprint(dataset: str, model: ModelConfig, training: TrainingConfig, seed: int) -> dict[str, Any]:
    """Returns the fingerprint of a training as JSON values, without settings at their default.

    Args:
        dataset: The digest of the dataset.
        model: The settings of the model.
        training: The settings of the training.
        seed: The seed of initial weights, order and noise.
    """
    how = canonical(training)
    return {
        "dataset": dataset,
        "model": canonical(model),
        "training": {name: value for name, value in how.items() if name not in _WITHOUT_INFLUENCE},
        "seed": seed,
    }


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Returns the differences of two fingerprints, as phrases: `training.batch_size: 64 there, 128 now`."""
    return list(_differences("", _with_defaults(found), _with_defaults(wanted)))


def _with_defaults(stored: dict[str, Any]) -> dict[str, Any]:
    """Returns a fingerprint with all settings that this version knows, defaults included.

    Another version of the program may have written it, with more settings, or with settings at their default.
    """
    full = dict(stored)
    for name, section in (("model", ModelConfig), ("training", TrainingConfig)):
        with suppress(ValidationError, KeyError):
            full[name] = section.model_validate(stored[name]).model_dump(mode="json", exclude=_WITHOUT_INFLUENCE)
    return json.loads(json.dumps(full))


_ABSENT = object()


def _differences(path: str, found: Any, wanted: Any) -> Iterator[str]:
    if isinstance(found, dict) and isinstance(wanted, dict) and found.get("kind") == wanted.get("kind"):
        for key in [*wanted, *(key for key in found if key not in wanted)]:
            below = f"{path}.{key}" if path else key
            yield from _differences(below, found.get(key, _ABSENT), wanted.get(key, _ABSENT))
    elif found != wanted:
        yield f"{path}: {_shown(found)} there, {_shown(wanted)} now"


def _shown(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value)
