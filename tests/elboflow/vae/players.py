"""Models as other families may be: with a variable that changes without a gradient, and with two players."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import keras
from keras import ops

from elboflow.vae.families.flat import Flat, FlatVAE
from elboflow.vae.model import Player
from elboflow.vae.terms import Batch, Loss, Noise, Specs, Tensor, Terms

DECAY = 0.75


class AveragedConfig(Flat):
    """A VAE that draws its posterior's means to their moving average."""

    kind: Literal["averaged"] = "averaged"

    def build(self, specs: Specs, seed: int = 0, policy: str = "float32") -> "Averaged":
        return Averaged(self, specs, seed, policy)


class DuelConfig(Flat):
    """The same, with a critic of z that is trained against it."""

    kind: Literal["duel"] = "duel"

    def build(self, specs: Specs, seed: int = 0, policy: str = "float32") -> "Duel":
        return Duel(self, specs, seed, policy)


class Average(keras.layers.Layer):
    """Holds a vector that no gradient changes."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.value = self.add_weight(shape=(units,), initializer="zeros", trainable=False, name="value")
        self.built = True


class Averaged(FlatVAE):
    """Its loss reads the average, and then assigns the next one."""

    @cached_property
    def parts(self) -> Mapping[str, keras.Layer]:
        return {**super().parts, "average": Average(self.latent)}

    @property
    def average(self) -> Any:
        """The moving average of the posterior's mean."""
        return self.parts["average"].value

    @cached_property
    def players(self) -> tuple[Player, ...]:
        (whole,) = super().players
        return (replace(whole, loss=lambda batch, noise, step: self._pulled(self.terms(batch, noise))),)

    def _pulled(self, terms: Terms) -> Loss:
        # Its value: the variable itself, which `ops.convert_to_tensor` leaves alone on TensorFlow, is read when used.
        mean, before = terms.latents[0].posterior.mean, self.average.value
        self.average.assign(DECAY * before + (1 - DECAY) * ops.mean(mean, axis=0))
        distance = ops.sum(ops.square(mean - before), axis=-1)
        elbo = terms.measures["elbo"]
        return Loss(distance - elbo, {**terms.measures, "distance": distance})


class Duel(Averaged):
    """The critic learns to tell the KL of an example from its z; the VAE learns to mislead it."""

    @cached_property
    def parts(self) -> Mapping[str, keras.Layer]:
        critic = keras.layers.Dense(1, kernel_initializer="ones")
        critic.build((None, self.latent))
        return {**super().parts, "critic": critic}

    @cached_property
    def players(self) -> tuple[Player, ...]:
        own = [variable for name in ("encoder", "decoder") for variable in self.parts[name].trainable_variables]
        critic = list(self.parts["critic"].trainable_variables)
        return Player("vae", own, self._misleading), Player("critic", critic, self._telling)

    def _error(self, terms: Terms) -> Tensor:
        told = ops.mean(self.parts["critic"](terms.latents[0].z)[..., 0], axis=0)
        return ops.square(told - terms.total_kl)

    def _misleading(self, batch: Batch, noise: Noise, step: Tensor) -> Loss:
        terms = self.terms(batch, noise)
        pulled = self._pulled(terms)
        return Loss(pulled.total - 0.1 * self._error(terms), pulled.measures)

    def _telling(self, batch: Batch, noise: Noise, step: Tensor) -> Loss:
        error = self._error(self.terms(batch, noise))
        return Loss(error, {"error": error})
