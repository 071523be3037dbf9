"""Likelihoods p(x|z): exact log-densities or log-probabilities of an example, in nats. A kind is one file."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import PrivateAttr

from elboflow.artifacts.spec import FeatureSpec, Shape
from elboflow.settings.kinds import Kind
from elboflow.vae.terms import Batch, Specs, Tensor

if TYPE_CHECKING:
    import numpy as np


class Likelihood(Kind):
    """p(x|z) over the features that a model generates: settings and computation.

    `of` binds a likelihood to features; all other methods need a bound likelihood. `x` is the result of `prepare`: a
    tensor or a tree of tensors.
    """

    group, folder = "elboflow.likelihoods", __name__
    _specs: dict[str, FeatureSpec] = PrivateAttr(default_factory=dict)

    def of(self, specs: Specs) -> Self:
        """Returns this likelihood, bound to features.

        Raises:
            ValueError: The likelihood does not fit the features; the message has the reason.
        """
        bound = self.model_copy()
        bound._specs = dict(specs)
        bound.check()
        return bound

    @property
    def specs(self) -> Specs:
        """The specs of the features, by name."""
        return self._specs

    @abstractmethod
    def check(self) -> None:
        """Raises a ValueError if the likelihood does not fit its features."""

    @property
    @abstractmethod
    def outcome_space(self) -> str:
        """A description of the outcomes to which the likelihood assigns probabilities.

        Two bounds are comparable only if their outcome spaces are the same.
        """

    @property
    @abstractmethod
    def inputs(self) -> Shape:
        """The shape of an encoder's input for an example, from `seen`."""

    @property
    @abstractmethod
    def outputs(self) -> Shape:
        """The shape of a decoder's output for an example: the parameters of p(x|z)."""

    @property
    def noise(self) -> Shape | None:
        """The shape of the uniform random numbers that `prepare` needs for an example; None if it needs none."""
        return None

    def dimensions(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray | None":
        """Returns the number of values of each example, `[examples]`; None if bits per dimension are meaningless.

        Args:
            features: The features of the examples, `[examples, …]` by name.
        """
        return None

    @abstractmethod
    def prepare(self, batch: Batch, uniform: Tensor | None) -> Any:
        """Returns x, the argument of the likelihood.

        Args:
            batch: The features by name, `[batch, …]`.
            uniform: Uniform random numbers, `[batch, *noise]`; None if `noise` is None.
        """

    def seen(self, x: Any) -> Tensor:
        """Returns the encoder's input for x, `[batch, *inputs]`."""
        return x

    @abstractmethod
    def log_prob(self, x: Any, outputs: Tensor) -> Tensor:
        """Returns log p(x|z) summed over the values of an example, `[samples, batch]`.

        Args:
            x: The result of `prepare`, `[batch, …]`.
            outputs: The decoder's outputs, `[samples, batch, *outputs]`.
        """

    @abstractmethod
    def mean(self, outputs: Tensor) -> Batch:
        """Returns the expected value of each feature, or the most probable one, `[batch, *shape]`.

        Levels are scaled to [0, 1].
        """

    @property
    def sampling(self) -> Shape | None:
        """The shape of the uniform random numbers that `sample` needs for an example; None if it returns the means."""
        return None

    def sample(self, outputs: Tensor, uniform: Tensor | None) -> Batch:
        """Returns the values of generated examples, `[batch, *shape]`: x ~ p(x|z), or its means, as usual for images.

        Args:
            outputs: The decoder's outputs, `[batch, *outputs]`.
            uniform: Uniform random numbers in [0, 1), `[batch, *sampling]`; None if `sampling` is None.
        """
        return self.mean(outputs)

    def bias(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray | None":
        """Returns decoder outputs `[*outputs]` whose mean is the mean of training examples; None if undefined.

        Scales are wide.

        Args:
            features: The features of the examples, `[examples, …]` by name.
        """
        return None

    def independent(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray | None":
        """Returns decoder outputs `[*outputs]` of a model without latents, fitted to training examples, or None.

        All values of an example are independent of each other then. By default `bias`, which is the best fit where the
        outputs are logits. None if there is no such model.

        Args:
            features: The features of the examples, `[examples, …]` by name.
        """
        return self.bias(features)

    def shared_bias(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray | None":
        """Returns `bias` for one position of a grid or sequence, from the mean over all positions; None if undefined.

        Args:
            features: The features of the examples, `[examples, …]` by name.
        """
        bias = self.bias(features)
        return None if bias is None else bias.reshape(-1, self.outputs[-1]).mean(axis=0)


class SequenceLikelihood(Likelihood):
    """p(x|z) over values in an order, which an autoregressive decoder can generate one after the other."""

    @property
    @abstractmethod
    def context(self) -> Shape:
        """The shape of an autoregressive decoder's second input for an example: positions first."""

    @abstractmethod
    def previous(self, x: Any) -> Tensor:
        """Returns an autoregressive decoder's second input, which has the previous value at each position of x.

        The shape is `[batch, *context]`.
        """

    @abstractmethod
    def blank(self, count: int) -> Any:
        """Returns x of `count` examples without any values, the start for `extended`."""

    @abstractmethod
    def extended(self, x: Any, outputs: Tensor, position: Tensor, uniform: Tensor | None) -> Any:
        """Returns x with the value at a position added.

        Args:
            x: x with the values before the position.
            outputs: The decoder's outputs for x, `[batch, *outputs]`.
            position: The position along the first axis of `context`, from 0.
            uniform: Numbers in [0, 1) to sample the value at each position, `[batch, positions]`; None for the most
                probable value.
        """

    @abstractmethod
    def values(self, x: Any) -> Batch:
        """Returns the features for x."""
