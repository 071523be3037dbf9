"""What a training is a function of: two of one identity end with the same weights, and share their checkpoints."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from elboflow.settings.digest import canonical
from elboflow.vae.config import TrainingConfig
from elboflow.vae.model import ModelConfig

_WITHOUT_INFLUENCE = {
    "device",  # a machine that went away may be replaced by one of another kind: rounding changes (and PyTorch's noise)
    "gpu",  # how much of it is taken
    "parallel",  # global batches, their order and their noise do not depend on the number of devices
    "checkpoints",  # what is written when; what is computed does not depend on it
    "tensorboard",  # another copy of the curves
    "max_minutes",  # changes no step: what ran out of time keeps its checkpoints, and goes on when given more
}
"""Settings of the training that may change between a checkpoint and its resumption.

All others change the result, or the meaning of what a checkpoint holds: `epochs` and `max_steps` end the schedule,
`micro_batches` and `precision` round otherwise at every step, a `backend` draws other noise, and `memory_megabytes` may
decide which examples meet in a batch.
"""


def identity(dataset: str, model: ModelConfig, training: TrainingConfig, seed: int) -> dict[str, Any]:
    """Returns what a training is a function of, as JSON values without those that are defaults.

    Args:
        dataset: The digest of the dataset.
        model: What the model is.
        training: How it is trained.
        seed: Fixes initial weights, order and noise.
    """
    how = canonical(training)
    return {
        "dataset": dataset,
        "model": canonical(model),
        "training": {name: value for name, value in how.items() if name not in _WITHOUT_INFLUENCE},
        "seed": seed,
    }


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Says where two identities differ: `training.batch_size: 64 there, 128 now`."""
    return list(_differences("", _in_full(found), _in_full(wanted)))


def _in_full(identity: dict[str, Any]) -> dict[str, Any]:
    """Returns an identity with all values of its settings, as far as this version knows them.

    Another version of the program may have written it, with more settings, or with those that are defaults.
    """
    full = dict(identity)
    for name, section in (("model", ModelConfig), ("training", TrainingConfig)):
        with suppress(ValidationError, KeyError):
            full[name] = section.model_validate(identity[name]).model_dump(mode="json", exclude=_WITHOUT_INFLUENCE)
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
