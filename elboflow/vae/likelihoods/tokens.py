"""A distribution over sequences of symbols: logits for each symbol and for the end, at each position."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from elboflow.artifacts.spec import LENGTH, Shape
from elboflow.vae import ops
from elboflow.vae.distributions import class_from_uniform
from elboflow.vae.likelihoods import SequenceLikelihood
from elboflow.vae.likelihoods._single import SingleLikelihood
from elboflow.vae.spec import indicators
from elboflow.vae.terms import Batch, Tensor

if TYPE_CHECKING:
    import numpy as np

X = dict[str, Tensor]


class Tokens(SingleLikelihood, SequenceLikelihood):
    """A distribution over all sequences up to a maximum length.

    The probability of a sequence of length n is the product of the probabilities of its n symbols and of the end. After
    the maximum length, the end has probability 1. So the probabilities of all sequences sum to 1, for any decoder.
    """

    kind: Literal["tokens"] = "tokens"

    def unfit(self) -> str | None:
        spec = self.spec
        return None if spec.levels is not None and spec.ragged and len(spec.shape) == 1 else "sequences of symbols"

    @property
    def outcome_space(self) -> str:
        return f"sequences of up to {self.longest} symbols"

    @property
    def longest(self) -> int:
        """The maximum length of a sequence."""
        return self.spec.shape[0]

    @property
    def symbols(self) -> int:
        """The number of symbols, without the end."""
        assert self.spec.levels is not None
        return self.spec.levels

    @property
    def inputs(self) -> Shape:
        return self.longest, self.symbols

    @property
    def outputs(self) -> Shape:
        return self.longest, self.symbols + 1

    @property
    def context(self) -> Shape:
        return self.longest, self.symbols

    def dimensions(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray":
        return features[self.feature + LENGTH]

    def prepare(self, batch: Batch, uniform: Tensor | None) -> X:
        return {
            "ids": ops.cast(batch[self.feature], "int32"),
            "length": ops.cast(batch[self.feature + LENGTH], "int32"),
        }

    def seen(self, x: X) -> Tensor:
        """Returns one-hot symbols, `[batch, longest, symbols]`, with zeros after the end."""
        symbols = indicators(x["ids"], ops.arange(self.symbols, dtype="int32"))
        return symbols * ops.expand_dims(ops.cast(self._positions() < x["length"][:, None], "float32"), -1)

    def previous(self, x: X) -> Tensor:
        seen = self.seen(x)
        return ops.concatenate([ops.zeros_like(seen[:, :1]), seen[:, :-1]], axis=1)

    def log_prob(self, x: X, outputs: Tensor) -> Tensor:
        length, positions = x["length"][:, None], self._positions()
        targets = ops.where(positions < length, x["ids"], self.symbols)
        counted = ops.cast(positions <= length, "float32")
        chosen = ops.sum(indicators(targets, ops.arange(self.symbols + 1, dtype="int32")) * outputs, axis=-1)
        return ops.sum(counted * (chosen - ops.logsumexp(outputs, axis=-1)), axis=-1)

    def mean(self, outputs: Tensor) -> Batch:
        return self._up_to_the_end(ops.cast(ops.argmax(outputs, axis=-1), "int32"))

    @property
    def sampling(self) -> Shape:
        return (self.longest,)

    def sample(self, outputs: Tensor, uniform: Tensor | None) -> Batch:
        assert uniform is not None
        return self._up_to_the_end(class_from_uniform(outputs, uniform))

    def _up_to_the_end(self, choice: Tensor) -> Batch:
        """Returns the symbols before the first end, `[batch, longest]`, and their number."""
        has_ended = ops.cumsum(ops.cast(choice == self.symbols, "int32"), axis=-1) > 0
        length = ops.sum(ops.cast(ops.logical_not(has_ended), "int32"), axis=-1)
        return self.values({"ids": ops.where(has_ended, 0, choice), "length": length})

    def blank(self, count: int) -> X:
        return {
            "ids": ops.zeros((count, self.longest), "int32"),
            "length": ops.full((count,), self.longest, dtype="int32"),
        }

    def extended(self, x: X, outputs: Tensor, position: Tensor, uniform: Tensor | None) -> X:
        here = ops.cast(self._positions() == position, "int32")
        chosen = ops.cast(here, "float32")
        logits = ops.sum(outputs * chosen[..., None], axis=1)
        if uniform is None:
            choice = ops.cast(ops.argmax(logits, axis=-1), "int32")
        else:
            choice = class_from_uniform(logits, ops.sum(uniform * chosen, axis=1))
        ends = ops.logical_and(choice == self.symbols, x["length"] > position)
        length = ops.where(ends, ops.cast(position, "int32"), x["length"])
        goes_on = ops.cast(length > position, "int32")
        return {"ids": x["ids"] + here * (choice * goes_on)[:, None], "length": length}

    def values(self, x: X) -> Batch:
        return {self.feature: x["ids"], self.feature + LENGTH: x["length"]}

    def bias(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray":
        import numpy as np

        ids, lengths = features[self.feature], features[self.feature + LENGTH]
        known = np.arange(ids.shape[1]) < lengths[:, None]
        counts = np.append(np.bincount(ids[known], minlength=self.symbols), len(ids))
        return np.broadcast_to(np.log((counts + 1) / (counts.sum() + len(counts))), self.outputs)

    def _positions(self) -> Tensor:
        return ops.arange(self.longest, dtype="int32")[None]
