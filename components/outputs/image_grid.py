"""A .png file: a grid of images; an original is left of its reconstruction."""

from collections.abc import Mapping

import numpy as np

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError

SUFFIX = ".png"
_PAIRS_IN_A_ROW = 4


def fits(specs: Mapping[str, FeatureSpec]) -> bool:
    """Whether these features are a single image.

    Raises:
        RequestError: The image has neither 1 nor 3 channels.
    """
    if [spec.kind for spec in specs.values()] != ["image"]:
        return False
    channels = next(iter(specs.values())).shape[2]
    if channels not in (1, 3):
        raise RequestError(f"a .png shows 1 or 3 channels, and the model's images have {channels}; write a .npz")
    return True


def content(specs: Mapping[str, FeatureSpec], sets: Mapping[str, Mapping[str, np.ndarray]]) -> bytes:
    """Returns the bytes of a PNG."""
    from elboflow.vae.evaluation.images import png

    ((name, spec),) = specs.items()
    low, high = spec.facts["range"]
    side_by_side = np.stack([(columns[name] - low) / (high - low) for columns in sets.values()], axis=1)
    return png(side_by_side.reshape(-1, *spec.shape), 2 * _PAIRS_IN_A_ROW if len(sets) > 1 else None)
