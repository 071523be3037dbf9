"""The terms of a model's bound: objectives and evaluators are functions of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias

from elboflow.artifacts.spec import FeatureSpec
from elboflow.vae import ops

Tensor = Any
"""A tensor of the current backend. Keras has no common type for tensors."""

Batch: TypeAlias = Mapping[str, Tensor]
"""Arrays by name, each `[batch, …]`: features, lengths of ragged features (`text.length`), and `WEIGHT`."""

Noise: TypeAlias = Mapping[str, Tensor]
"""Random numbers by draw name: `[samples, batch, …]`, or `[batch, …]` if all samples share them."""

Specs: TypeAlias = Mapping[str, FeatureSpec]
"""The specs of a model's features, by name."""

ELBO, RECONSTRUCTION, KL = "elbo", "reconstruction", "kl"
"""The names of the measures that every model with a bound has, in nats."""

WEIGHT = "example.weight"
"""The name of the array with each example's weight in the loss. (Feature names have no dot.)"""


@dataclass(frozen=True)
class Draw:
    """Random numbers that a computation of a model needs: uniform in [0, 1), or standard normal.

    Attributes:
        name: The name of the numbers in `Noise`.
        kind: The distribution.
        shape: The shape for one sample of one example.
        samples: The number of samples of an example; None if all samples share the same numbers.
    """

    name: str
    kind: Literal["uniform", "normal"]
    shape: tuple[int, ...]
    samples: int | None = None

    @property
    def of_example(self) -> tuple[int, ...]:
        """The shape of all numbers for an example, with samples."""
        return self.shape if self.samples is None else (self.samples, *self.shape)


def samples_first(draws: Sequence[Draw], drawn: Mapping[str, Tensor]) -> Noise:
    """Moves the samples axis of drawn numbers, `[batch, samples, …]` or `[batch, …]` by name, to the front."""
    return {d.name: drawn[d.name] if d.samples is None else ops.moveaxis(drawn[d.name], 1, 0) for d in draws}


class Distribution(Protocol):
    """A distribution over a layer of latents for each example: `[batch, units]`, or `[samples, batch, units]`."""

    @property
    def mean(self) -> Tensor:
        """The mean of each unit."""

    def sample(self, noise: Tensor) -> Tensor:
        """Turns standard normal noise `[samples, batch, units]` into samples."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns the logarithm of the density at z, `[samples, batch]`, in nats."""

    def kl(self, prior: "Distribution") -> Tensor | None:
        """Returns KL(this ‖ prior) by unit, in nats, in closed form; None if there is no closed form."""


@dataclass(frozen=True)
class Latent:
    """A layer of latents, given the layers above it.

    Attributes:
        z: Samples of the posterior, `[samples, batch, units]`.
        posterior: q(z|x).
        prior: p(z).
    """

    z: Tensor
    posterior: Distribution
    prior: Distribution

    @cached_property
    def log_posterior(self) -> Tensor:
        """log q(z|x), `[samples, batch]`."""
        return self.posterior.log_prob(self.z)

    @cached_property
    def log_prior(self) -> Tensor:
        """log p(z), `[samples, batch]`."""
        return self.prior.log_prob(self.z)

    @cached_property
    def kl_by_unit(self) -> Tensor | None:
        """KL(q(z|x) ‖ p(z)) of each unit, `[batch, units]`; None if there is no closed form."""
        closed = self.posterior.kl(self.prior)
        return ops.mean(closed, axis=0) if closed is not None and len(closed.shape) == 3 else closed

    @cached_property
    def kl(self) -> Tensor:
        """KL(q(z|x) ‖ p(z)), `[batch]`: in closed form if possible, otherwise the mean over the samples."""
        if self.kl_by_unit is not None:
            return ops.sum(self.kl_by_unit, axis=-1)
        return ops.mean(self.log_posterior - self.log_prior, axis=0)


@dataclass(frozen=True)
class Terms:
    """The terms of the bound, in nats.

    Attributes:
        log_likelihood: log p(x|z), `[samples, batch]`.
        latents: The layers of latents, from the top down.
        also: Other terms that an objective may add, by name: `[batch]` or a scalar.
    """

    log_likelihood: Tensor
    latents: tuple[Latent, ...]
    also: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def log_prior(self) -> Tensor:
        """log p(z), summed over the layers, `[samples, batch]`."""
        return sum(latent.log_prior for latent in self.latents)

    @cached_property
    def log_posterior(self) -> Tensor:
        """log q(z|x), summed over the layers, `[samples, batch]`."""
        return sum(latent.log_posterior for latent in self.latents)

    @cached_property
    def log_weight(self) -> Tensor:
        """The logarithm of the importance weight p(x|z) p(z) / q(z|x), `[samples, batch]`."""
        return self.log_likelihood + self.log_prior - self.log_posterior

    @cached_property
    def reconstruction(self) -> Tensor:
        """The estimate of E_q log p(x|z), `[batch]`."""
        return ops.mean(self.log_likelihood, axis=0)

    @cached_property
    def kl(self) -> Tensor:
        """KL(q(z|x) ‖ p(z)) of each layer, `[layers, batch]`."""
        return ops.stack([latent.kl for latent in self.latents])

    @cached_property
    def total_kl(self) -> Tensor:
        """KL(q(z|x) ‖ p(z)) summed over the layers, `[batch]`."""
        return sum(latent.kl for latent in self.latents)

    @cached_property
    def elbo(self) -> Tensor:
        """The evidence lower bound, `[batch]`."""
        return self.reconstruction - self.total_kl

    @property
    def measures(self) -> dict[str, Tensor]:
        """The measures to log for every model, by name, `[batch]` each."""
        layers = {f"{KL}_{n}": latent.kl for n, latent in enumerate(self.latents, 1)} if len(self.latents) > 1 else {}
        return {
            RECONSTRUCTION: self.reconstruction,
            KL: self.total_kl,
            **layers,
            **self.also,
            ELBO: self.elbo,
        }


@dataclass(frozen=True)
class Loss:
    """The value of an objective.

    Attributes:
        total: The loss of each example, `[batch]`, in nats. Training minimises its (weighted) mean.
        measures: Additional measures to log, by name, `[batch]` or a scalar each.
    """

    total: Tensor
    measures: Mapping[str, Tensor] = field(default_factory=dict)
