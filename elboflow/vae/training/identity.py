"""What a training is a function of: two of one identity end with the same weights, and share their checkpoints."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from elboflow.vae.config import ModelConfig, TrainingConfig

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
    """Returns what a training is a function of, as JSON values.

    Args:
        dataset: The digest of the dataset.
        model: What the model is.
        training: How it is trained.
        seed: Fixes initial weights, order and noise.
    """
    return {
        "dataset": dataset,
        "model": model.model_dump(mode="json"),
        "training": training.model_dump(mode="json", exclude=_WITHOUT_INFLUENCE),
        "seed": seed,
    }


def digest(identity: dict[str, Any]) -> str:
    """Returns the SHA-256 of an identity, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Says where two identities differ: `training.batch_size: 64 there, 128 now`."""
    return list(_differences("", found, json.loads(json.dumps(wanted))))


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
