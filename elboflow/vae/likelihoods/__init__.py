"""p(x|z): exact densities, or probabilities, in nats, summed over the values of an example. One kind is one file."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import PrivateAttr

from elboflow.artifacts.spec import FeatureSpec, Shape
from elboflow.settings.kinds import Kind
from elboflow.vae.terms import Batch, Specs, Tensor

if TYPE_CHECKING:
    import numpy as np


class Likelihood(Kind):
    """p(x|z) over the features that a model models: settings, and what they compute.

    `of` gives it the features; all else needs them. `x` is what `prepare` makes of a batch: a tensor or a tree of them.
    """

    group, folder = "elboflow.likelihoods", __name__
    _specs: dict[str, FeatureSpec] = PrivateAttr(default_factory=dict)

    def of(self, specs: Specs) -> Self:
        """Returns this likelihood of some features.

        Raises:
            ValueError: They are not of a kind that it models; the sentence says why.
        """
        bound = self.model_copy()
        bound._specs = dict(specs)
        bound.check()
        return bound

    @property
    def specs(self) -> Specs:
        """The features that it models, by name."""
        return self._specs

    def check(self) -> None:
        """Raises ValueError where it does not model such features."""
        raise NotImplementedError

    @property
    def outcome_space(self) -> str:
        """Of what it gives probabilities: two bounds are comparable only over the same one."""
        raise NotImplementedError

    @property
    def inputs(self) -> Shape:
        """The shape of what `seen` gives an encoder of an example."""
        raise NotImplementedError

    @property
    def outputs(self) -> Shape:
        """The shape of the parameters of p(x|z) that a decoder makes for an example."""
        raise NotImplementedError

    @property
    def noise(self) -> Shape | None:
        """The shape of the uniform numbers that `prepare` takes for an example; None: it takes none."""
        return None

    def dimensions(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray | None":
        """Returns how many values each example has, `[examples]`, for bits per dimension; None where that says nothing.

        Args:
            features: Of the examples, `[examples, …]`.
        """
        return None

    def prepare(self, batch: Batch, uniform: Tensor | None) -> Any:
        """Returns x: what this is a likelihood of."""
        raise NotImplementedError

    def seen(self, x: Any) -> Tensor:
        """Returns x as an encoder reads it, `[batch, *inputs]`."""
        return x

    @property
    def context(self) -> Shape | None:
        """The shape of what an autoregressive decoder reads of an example besides z; None: x has no order."""
        return None

    def previous(self, x: Any) -> Tensor:
        """Returns for each position of x what stands before it, `[batch, *context]`."""
        raise NotImplementedError

    def blank(self, count: int) -> Any:
        """Returns x of `count` examples of which nothing is known yet, for `extended`."""
        raise NotImplementedError

    def extended(self, x: Any, outputs: Tensor, position: Tensor, uniform: Tensor | None) -> Any:
        """Returns x with a value at a position.

        Args:
            x: Known up to the position.
            outputs: The decoder's, given what stands before, `[batch, *outputs]`.
            position: From 0, along the first axis of `context`.
            uniform: Numbers in [0, 1) that draw the value of each position, `[batch, positions]`; None: the most
                probable one is chosen.
        """
        raise NotImplementedError

    def values(self, x: Any) -> Batch:
        """Returns the features that x stands for, where `context` is not None."""
        raise NotImplementedError

    def log_prob(self, x: Any, outputs: Tensor) -> Tensor:
        """Returns log p(x|z) summed over the values of an example, `[samples, batch]`.

        Args:
            x: From `prepare`, `[batch, …]`.
            outputs: The decoder's, `[samples, batch, *outputs]`.
        """
        raise NotImplementedError

    def mean(self, outputs: Tensor) -> Batch:
        """Returns the expected value of each feature, or the most probable one, `[batch, *shape]`.

        Levels are scaled to [0, 1].
        """
        raise NotImplementedError

    def bias(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray":
        """Returns outputs `[*outputs]` with the mean of training examples; scales stay wide, to be narrowed.

        Args:
            features: Of the examples, `[examples, …]`.
        """
        raise NotImplementedError

    def shared_bias(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray":
        """Returns outputs of one place of a grid or a sequence with the mean of training examples over all places.

        Args:
            features: Of the examples, `[examples, …]`.
        """
        return self.bias(features).reshape(-1, self.outputs[-1]).mean(axis=0)
