"""A product of likelihoods for tables, one for each column."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PrivateAttr

from elboflow.artifacts.spec import FeatureSpec, Shape
from elboflow.settings.explain import ConflictsError, Problem
from elboflow.vae import ops
from elboflow.vae.likelihoods import Likelihood
from elboflow.vae.likelihoods.category import Category
from elboflow.vae.likelihoods.normal import Normal
from elboflow.vae.terms import Batch, Specs, Tensor

if TYPE_CHECKING:
    import numpy as np


class Product(Likelihood):
    """Features that are independent given z. The default likelihood is `normal` for numbers, `category` for classes."""

    kind: Literal["product"] = "product"
    columns: dict[str, Likelihood] = Field(default_factory=dict, description="the likelihood of a feature, by its name")
    _bound: dict[str, Likelihood] = PrivateAttr(default_factory=dict)

    def of(self, specs: Specs) -> "Product":
        bound = super().of(specs)
        bound._bound, problems = {}, []
        for name, spec in specs.items():
            try:
                bound._bound[name] = self._column(name, spec).of({name: spec})
            except ValueError as error:
                if name not in self.columns:
                    raise
                found = error.problems if isinstance(error, ConflictsError) else [Problem((), str(error))]
                problems += [Problem(("columns", name, *problem.path), problem.sentence) for problem in found]
        if problems:
            raise ConflictsError(problems)
        return bound

    def check(self) -> None:
        if unknown := sorted(self.columns.keys() - self.specs.keys()):
            raise ValueError(f"'{unknown[0]}' has a likelihood, and model.input names {', '.join(self.specs)}")

    def _column(self, name: str, spec: FeatureSpec) -> Likelihood:
        return self.columns.get(name) or (Normal() if spec.levels is None else Category())

    @property
    def outcome_space(self) -> str:
        return "; ".join(f"{name}: {column.outcome_space}" for name, column in sorted(self._bound.items()))

    @property
    def inputs(self) -> Shape:
        return (sum(math.prod(column.inputs) for column in self._bound.values()),)

    @property
    def outputs(self) -> Shape:
        return (sum(math.prod(column.outputs) for column in self._bound.values()),)

    @property
    def noise(self) -> Shape | None:
        return _total({name: column.noise for name, column in self._bound.items()})

    def prepare(self, batch: Batch, uniform: Tensor | None) -> dict[str, Any]:
        numbers = _divided(uniform, {name: column.noise for name, column in self._bound.items()})
        return {name: column.prepare(batch, numbers.get(name)) for name, column in self._bound.items()}

    def seen(self, x: dict[str, Any]) -> Tensor:
        parts = [(column.seen(x[name]), math.prod(column.inputs)) for name, column in self._bound.items()]
        return ops.concatenate([ops.reshape(part, (-1, size)) for part, size in parts], axis=-1)

    def log_prob(self, x: dict[str, Any], outputs: Tensor) -> Tensor:
        return sum(self._bound[name].log_prob(x[name], own) for name, own in self._outputs(outputs).items())

    def mean(self, outputs: Tensor) -> Batch:
        means = [self._bound[name].mean(own) for name, own in self._outputs(outputs).items()]
        return {name: values for found in means for name, values in found.items()}

    @property
    def sampling(self) -> Shape | None:
        return _total({name: column.sampling for name, column in self._bound.items()})

    def sample(self, outputs: Tensor, uniform: Tensor | None) -> Batch:
        numbers = _divided(uniform, {name: column.sampling for name, column in self._bound.items()})
        made = [self._bound[name].sample(own, numbers.get(name)) for name, own in self._outputs(outputs).items()]
        return {name: values for found in made for name, values in found.items()}

    def bias(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray | None":
        return _joined([column.bias(features) for column in self._bound.values()])

    def independent(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray | None":
        return _joined([column.independent(features) for column in self._bound.values()])

    def _outputs(self, outputs: Tensor) -> dict[str, Tensor]:
        """Returns the decoder outputs of each column, `[…, *outputs]`."""
        return _divided(outputs, {name: column.outputs for name, column in self._bound.items()})


def _joined(parts: "Sequence[np.ndarray | None]") -> "np.ndarray | None":
    import numpy as np

    known = [part.reshape(-1) for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _total(shapes: Mapping[str, Shape | None]) -> Shape | None:
    """Returns the shape of a vector with the numbers of all columns; None if no column has any."""
    known = [math.prod(shape) for shape in shapes.values() if shape is not None]
    return (sum(known),) if known else None


def _divided(vector: Tensor | None, shapes: Mapping[str, Shape | None]) -> dict[str, Tensor]:
    """Returns the part of each column that has one, `[…, *shape]`, of a vector `[…, numbers]` with those of all."""
    parts, first = {}, 0
    for name, shape in shapes.items():
        if shape is not None:
            assert vector is not None
            end = first + math.prod(shape)
            parts[name] = ops.reshape(vector[..., first:end], (*ops.shape(vector)[:-1], *shape))
            first = end
    return parts
