"""Encoding and checks of a feature's values for a model, from the feature's spec (`elboflow.artifacts.spec`)."""

from typing import Any

from elboflow.artifacts.spec import LENGTH, FeatureSpec
from elboflow.vae import ops
from elboflow.vae.terms import Batch, Specs, Tensor


def one_hot(spec: FeatureSpec, values: Tensor) -> Tensor:
    """Returns the one-hot encoding of discrete values `[…]`, 0 to `levels - 1`: float32 `[…, levels]`."""
    return indicators(values, ops.arange(spec.levels, dtype="int32"))


def indicators(values: Tensor, known: Tensor) -> Tensor:
    """Returns 1 where a value `[…]` equals one of the `known` values `[n]`, otherwise 0: float32 `[…, n]`.

    `ops.one_hot` on PyTorch reads the largest value from the device, which a traced program cannot do.
    """
    return ops.cast(ops.expand_dims(ops.cast(values, "int32"), -1) == known, "float32")


def moments(spec: FeatureSpec) -> tuple[float, float]:
    """Returns mean and standard deviation of a feature over the train split; a deviation of 0 is replaced by 1.

    They are 0 and 1 if the kind of feature has none.
    """
    return float(spec.facts.get("mean", 0.0)), float(spec.facts.get("std", 0.0)) or 1.0


def standardised(spec: FeatureSpec, values: Tensor) -> Tensor:
    """Returns (values - mean) / standard deviation, with the moments of the train split, float32."""
    mean, deviation = moments(spec)
    return (ops.cast(values, "float32") - mean) / deviation


def vector_size(spec: FeatureSpec) -> int:
    """Returns the size of an example in `as_vector`."""
    return spec.size * (spec.levels or 1)


def as_vector(spec: FeatureSpec, values: Tensor) -> Tensor:
    """Returns the values of a feature one-hot encoded or standardised, `[batch, vector_size]`."""
    encoded = standardised(spec, values) if spec.levels is None else one_hot(spec, values)
    return ops.reshape(encoded, (-1, vector_size(spec)))


def names(specs: Specs) -> tuple[str, ...]:
    """Returns the names of these features' arrays in a batch: ragged features also have a lengths array."""
    return tuple(
        name for feature, spec in specs.items() for name in ([feature, feature + LENGTH] if spec.ragged else [feature])
    )


def joined(specs: Specs, batch: Batch) -> Tensor:
    """Returns several features as one vector, `[batch, sum of vector_size]`."""
    return ops.concatenate([as_vector(spec, batch[name]) for name, spec in specs.items()], axis=-1)


def problem(name: str, spec: FeatureSpec, values: Any, lengths: Any) -> str | None:
    """Returns a description of values that do not fit a spec, or None if all fit.

    Args:
        name: The feature's name.
        spec: The spec that the model expects.
        values: NumPy array, `[examples, …]`.
        lengths: The length of each example, if the feature is ragged, `[examples]`.
    """
    import numpy as np

    shape = list(values.shape[1:])
    if spec.ragged:
        if shape[1:] != list(spec.shape[1:]) or shape[0] > spec.shape[0]:
            return f"'{name}' of shape {shape}; the model takes at most {list(spec.shape)}"
        values = values[np.arange(shape[0]) < lengths[:, None]]
    elif shape != list(spec.shape):
        return f"'{name}' of shape {shape}; the model takes {list(spec.shape)}"
    if not values.size:
        return None
    if spec.levels is not None and (values.max() >= spec.levels or values.min() < 0):
        worst = values.max() if values.max() >= spec.levels else values.min()
        return f"'{name}' with codes up to {worst}; the model takes 0 to {spec.levels - 1}"
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return f"'{name}' with numbers that are not finite"
    return None
