"""A product of likelihoods for tables, one for each column."""

import itertools
import math
from collections.abc import Mapping
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
        return (sum(self._sizes),)

    @property
    def noise(self) -> Shape | None:
        total = sum(math.prod(column.noise) for column in self._bound.values() if column.noise is not None)
        return (total,) if total else None

    def prepare(self, batch: Batch, uniform: Tensor | None) -> dict[str, Any]:
        x, first = {}, 0
        for name, column in self._bound.items():
            own = None
            if column.noise is not None:
                size = math.prod(column.noise)
                assert uniform is not None
                own = ops.reshape(uniform[:, first : first + size], (-1, *column.noise))
                first += size
            x[name] = column.prepare(batch, own)
        return x

    def seen(self, x: dict[str, Any]) -> Tensor:
        parts = [(column.seen(x[name]), math.prod(column.inputs)) for name, column in self._bound.items()]
        return ops.concatenate([ops.reshape(part, (-1, size)) for part, size in parts], axis=-1)

    def log_prob(self, x: dict[str, Any], outputs: Tensor) -> Tensor:
        return sum(self._bound[name].log_prob(x[name], own) for name, own in self._divided(outputs).items())

    def mean(self, outputs: Tensor) -> Batch:
        means = [self._bound[name].mean(own) for name, own in self._divided(outputs).items()]
        return {name: values for found in means for name, values in found.items()}

    def bias(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray | None":
        import numpy as np

        parts = [column.bias(features) for column in self._bound.values()]
        known = [part.reshape(-1) for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else None

    @property
    def _sizes(self) -> list[int]:
        return [math.prod(column.outputs) for column in self._bound.values()]

    def _divided(self, outputs: Tensor) -> dict[str, Tensor]:
        """Returns the decoder outputs of each column, `[…, *outputs]`."""
        ends = list(itertools.accumulate(self._sizes))
        return {
            name: ops.reshape(outputs[..., end - size : end], (*ops.shape(outputs)[:-1], *column.outputs))
            for (name, column), size, end in zip(self._bound.items(), self._sizes, ends, strict=True)
        }
