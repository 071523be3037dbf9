"""What tests give to models, and how they look at them."""

from pathlib import Path
from typing import Any

import numpy as np

from elboflow.artifacts.spec import FeatureSpec
from elboflow.vae import keras_file
from elboflow.vae.data import Examples
from elboflow.vae.model import Model, variables
from elboflow.vae.terms import Specs


def image(shape: tuple[int, ...], levels: int) -> Specs:
    """The features of a model of images."""
    return {"image": FeatureSpec(kind="image", dtype="uint8", shape=shape, levels=levels)}


def images(codes: np.ndarray, keys: np.ndarray | None = None, weights: np.ndarray | None = None) -> Examples:
    """Images as examples, whose keys are their numbers where none are given."""
    return Examples({"image": codes}, np.arange(len(codes)) if keys is None else keys, weights)


def weights(model: Model) -> list[np.ndarray]:
    """The values of a model's variables."""
    from elboflow.vae.training.state import values

    return values(variables(model))


def read(path: Path) -> Model:
    """The model in a `.keras` file, as a model folder reads it."""
    from elboflow.vae.container import assigned

    config, specs = keras_file.described(path)
    model = config.build(specs)
    assigned(model, keras_file.weights(path, config, specs))
    return model


def assert_same_weights(one: Any, other: Any) -> None:
    """Checks that two trainings ended with the same bits."""
    for weight, same in zip(weights(one.model), weights(other.model), strict=True):
        np.testing.assert_array_equal(weight, same)
