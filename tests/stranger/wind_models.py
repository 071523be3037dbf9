"""A user's own package: a likelihood, a network, a prior, an objective and a model. No edit elsewhere.

Keras is imported inside functions: a command line reads this file, and chooses no framework.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import PositiveInt

from elboflow.artifacts.spec import Shape
from elboflow.vae import ops
from elboflow.vae.distributions import DiagonalGaussian
from elboflow.vae.likelihoods import Likelihood
from elboflow.vae.model import Model, ModelConfig, Player
from elboflow.vae.networks import Network, Site, built, seeds
from elboflow.vae.networks.mlp import MLP
from elboflow.vae.objectives import Objective
from elboflow.vae.priors import Prior, PriorSite
from elboflow.vae.terms import Batch, Distribution, Draw, Latent, Loss, Noise, Specs, Tensor, Terms

if TYPE_CHECKING:
    import keras


class WrappedCauchy(Likelihood):
    """Independent wrapped Cauchy distributions over directions: exact densities per turn (Mardia and Jupp, 2000)."""

    kind: Literal["wrapped_cauchy"] = "wrapped_cauchy"

    def check(self) -> None:
        for name, spec in self.specs.items():
            if spec.kind != "direction":
                raise ValueError(f"'wrapped_cauchy' models directions; '{name}' is of kind {spec.kind}")

    @property
    def feature(self) -> str:
        return next(iter(self.specs))

    @property
    def stations(self) -> int:
        return self.specs[self.feature].shape[0]

    @property
    def outcome_space(self) -> str:
        return "directions, a density per turn"

    @property
    def inputs(self) -> Shape:
        return (2 * self.stations,)

    @property
    def outputs(self) -> Shape:
        return (3 * self.stations,)

    def dimensions(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.full(len(features[self.feature]), self.stations)

    def prepare(self, batch: Batch, uniform: Tensor | None) -> Tensor:
        return 2 * math.pi * ops.cast(batch[self.feature], "float32")

    def seen(self, x: Tensor) -> Tensor:
        return ops.concatenate([ops.cos(x), ops.sin(x)], axis=-1)

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        cosine, sine, spread = ops.split(outputs, 3, axis=-1)
        length = ops.sqrt(cosine**2 + sine**2 + 1e-6)
        towards = (ops.cos(x) * cosine + ops.sin(x) * sine) / length
        rho = 0.999 * ops.sigmoid(spread)
        return ops.sum(ops.log(1 - rho**2) - ops.log(1 + rho**2 - 2 * rho * towards), axis=-1)

    def mean(self, outputs: Tensor) -> Batch:
        cosine, sine, _ = ops.split(outputs, 3, axis=-1)
        turns = ops.arctan2(sine, cosine) / (2 * math.pi)
        return {self.feature: turns - ops.floor(turns)}


class Skip(Network):
    """A residual network, which is no chain of layers."""

    kind: Literal["skip"] = "skip"
    width: PositiveInt = 32

    def encoder(self, site: Site) -> "keras.Layer":
        return self._network(site)

    def decoder(self, site: Site) -> "keras.Layer":
        return self._network(site)

    def _network(self, site: Site) -> "keras.Layer":
        import keras
        from keras import layers

        inputs = keras.Input(site.inputs)
        first = layers.Dense(self.width, "relu", kernel_initializer=self._drawn(site), dtype=site.policy)
        values = first(layers.Flatten()(inputs))
        for _ in range(2):
            inner = layers.Dense(self.width, "relu", kernel_initializer=self._drawn(site), dtype=site.policy)(values)
            values = layers.Add(dtype=site.policy)([values, inner])
        units = math.prod(site.outputs)
        made = layers.Dense(units, kernel_initializer=self._drawn(site), name="output", dtype="float32")(values)
        return keras.Model(inputs, layers.Reshape(site.outputs)(made), name=site.name)

    def _drawn(self, site: Site) -> Any:
        from elboflow.vae.layers.initializers import seeded

        return seeded("glorot_uniform", site.seeds)


class Mixture(Prior):
    """A mixture of Gaussians of unit variance, whose means are learned."""

    kind: Literal["mixture"] = "mixture"
    count: PositiveInt = 3

    def noise(self, latent: int) -> Shape:
        return (latent + 1,)  # the last one chooses a component

    def layer(self, site: PriorSite) -> "keras.Layer":
        from wind_layers import Centres

        centres = Centres(self.count, site.latent, next(site.seeds))
        centres.build()
        return centres

    def distribution(
        self, layer: Any, condition: Tensor | None, encode: Callable[[Tensor], Distribution]
    ) -> "MixtureOfGaussians":
        return MixtureOfGaussians(ops.convert_to_tensor(layer.means))


class MixtureOfGaussians:
    """A distribution without a closed form of its KL."""

    def __init__(self, means: Tensor) -> None:
        self.means = means

    @property
    def mean(self) -> Tensor:
        return ops.mean(self.means, axis=0)

    def sample(self, noise: Tensor) -> Tensor:
        chosen = 0.5 * (1 + ops.erf(noise[..., -1:] / math.sqrt(2)))
        number = ops.cast(ops.floor(chosen * self.means.shape[0]), "int32")
        which = ops.cast(number == ops.arange(self.means.shape[0], dtype="int32"), "float32")
        return ops.matmul(which, self.means) + noise[..., :-1]

    def log_prob(self, z: Tensor) -> Tensor:
        squared = ops.sum(ops.square(ops.expand_dims(z, -2) - self.means), axis=-1)
        each = -0.5 * (squared + z.shape[-1] * math.log(2 * math.pi))
        return ops.logsumexp(each, axis=-1) - math.log(self.means.shape[0])

    def kl(self, prior: Distribution) -> None:
        return None


class ImportanceWeighted(Objective):
    """The bound of Burda et al. (2016) with k samples."""

    kind: Literal["iwae"] = "iwae"
    k: PositiveInt = 5

    @property
    def draws(self) -> int:
        return self.k

    def __call__(self, terms: Terms, step: Tensor) -> Loss:
        bound = ops.logsumexp(terms.log_weight, axis=0) - math.log(self.k)
        return Loss(-bound, {"iwae": bound})


class TwoLayers(ModelConfig):
    """z2 → z1 → x, with q(z1|x) q(z2|z1) (Sønderby et al., 2016, section 2)."""

    kind: Literal["two_layers"] = "two_layers"
    top: PositiveInt = 2
    bottom: PositiveInt = 4
    network: Network = MLP(hidden=[16])
    likelihood: Likelihood
    prior: Prior
    objective: Objective

    def check(self, specs: Specs) -> None:
        self.likelihood.of({name: specs[name] for name in self.features})

    def outcome_space(self, specs: Specs) -> str:
        return self.likelihood.of({name: specs[name] for name in self.features}).outcome_space

    def build(self, specs: Specs, seed: int = 0, policy: str = "float32") -> "TwoLayerVAE":
        return TwoLayerVAE(self, specs, seed, policy)


class TwoLayerVAE(Model):
    """The model of `TwoLayers`."""

    config: TwoLayers

    def __init__(self, config: TwoLayers, specs: Specs, seed: int, policy: str) -> None:
        self.config, self.specs = config, specs
        self.likelihood = config.likelihood.of(specs)
        drawn = seeds(seed)
        top, bottom, x = config.top, config.bottom, self.likelihood

        def network(name: str, inputs: Shape, outputs: Shape) -> "keras.Layer":
            return built(config.network.encoder, Site(name, inputs, outputs, drawn, policy=policy), "the model")

        self.up = network("up", x.inputs, (2 * bottom,))
        self.upper = network("upper", (bottom,), (2 * top,))
        self.down = network("down", (top,), (2 * bottom,))
        self.lower = network("lower", (bottom,), x.outputs)
        self.prior = config.prior.layer(PriorSite(top, 0, x.inputs, drawn))

    @property
    def parts(self) -> "Mapping[str, keras.Layer]":
        found = {"up": self.up, "upper": self.upper, "down": self.down, "lower": self.lower, "prior": self.prior}
        return {name: layer for name, layer in found.items() if layer is not None}

    @property
    def players(self) -> tuple[Player, ...]:
        return (Player.whole(self, self.config.objective),)

    @property
    def training_draws(self) -> tuple[Draw, ...]:
        return self.draws(self.config.objective.draws)

    def draws(self, samples: int) -> tuple[Draw, ...]:
        z1 = Draw("z1", "normal", (self.config.bottom,), samples)
        z2 = Draw("z2", "normal", (self.config.top,), samples)
        return (z1, z2) if self.likelihood.noise is None else (z1, z2, Draw("x", "uniform", self.likelihood.noise))

    def terms(self, batch: Batch, noise: Noise) -> Terms:
        x = self.likelihood.prepare(batch, noise.get("x"))
        q1 = self._gaussian(self.up, self.likelihood.seen(x))
        z1 = q1.sample(noise["z1"])
        q2 = self._gaussian(self.upper, z1)
        z2 = q2.sample(noise["z2"])
        return Terms(
            self.likelihood.log_prob(x, self._through(self.lower, z1)),
            (Latent(z2, q2, self._top()), Latent(z1, q1, self._gaussian(self.down, z2))),
        )

    def encode(self, batch: Batch, noise: Noise) -> tuple[Tensor, ...]:
        x = self.likelihood.prepare(batch, noise.get("x"))
        z1 = self._gaussian(self.up, self.likelihood.seen(x)).mean
        return self._gaussian(self.upper, z1).mean, z1

    @property
    def prior_draws(self) -> tuple[Draw, ...]:
        top = Draw("z2", "normal", self.config.prior.noise(self.config.top))
        return top, Draw("z1", "normal", (self.config.bottom,))

    def from_prior(self, noise: Noise, batch: Batch) -> tuple[Tensor, ...]:
        z2 = self._top().sample(noise["z2"])
        return z2, self._gaussian(self.down, z2).sample(noise["z1"])

    def decode(self, latents: tuple[Tensor, ...], batch: Batch, noise: Noise) -> Batch:
        return self.likelihood.mean(ops.cast(self.lower(latents[1]), "float32"))

    def _top(self) -> Distribution:
        def nothing(seen: Tensor) -> Distribution:
            raise NotImplementedError  # the priors of this package do not encode pseudo-inputs

        return self.config.prior.distribution(self.prior, None, nothing)

    def _gaussian(self, network: "keras.Layer", values: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(*ops.split(self._through(network, values), 2, axis=-1))

    def _through(self, network: "keras.Layer", values: Tensor) -> Tensor:
        """Returns float32 outputs of a network; it may get samples, `[samples, batch, …]`."""
        inner = network.input_shape[1:]
        leading = ops.shape(values)[: len(values.shape) - len(inner)]
        outputs = ops.cast(network(ops.reshape(values, (-1, *inner))), "float32")
        return ops.reshape(outputs, (*leading, *outputs.shape[1:]))
