"""VAEs with one layer of latents, with or without a condition."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from elboflow.settings import RequestError
from elboflow.settings.explain import ConflictsError, Problem
from elboflow.vae import ops
from elboflow.vae import spec as specs_
from elboflow.vae.data import Examples
from elboflow.vae.layers import OUTPUT, Width
from elboflow.vae.likelihoods import Likelihood, SequenceLikelihood
from elboflow.vae.likelihoods.bernoulli import Bernoulli
from elboflow.vae.model import Input, Model, ModelConfig, Player
from elboflow.vae.networks import Network, Site, built, seeds
from elboflow.vae.networks.mlp import MLP
from elboflow.vae.objectives import Objective
from elboflow.vae.objectives.elbo import ELBO
from elboflow.vae.posteriors import Posterior
from elboflow.vae.posteriors.diagonal_gaussian import DiagonalGaussian
from elboflow.vae.priors import Prior, PriorSite
from elboflow.vae.priors.standard_normal import StandardNormal
from elboflow.vae.terms import Batch, Distribution, Draw, Latent, Noise, Specs, Tensor, Terms

if TYPE_CHECKING:
    import keras

# From 10,000 examples, the mean of a pixel is accurate to 0.5 % of its range. The number of values is limited, so that
# large examples do not delay the first step.
_START_EXAMPLES, _START_VALUES = 10_000, 2**24


class Flat(ModelConfig):
    """The settings of a VAE with one layer of latents: networks, prior, posterior, likelihood and objective."""

    kind: Literal["flat"] = "flat"
    input: Input = "image"
    condition: str | None = Field(None, description="a feature that is given, not modelled; null: none")
    latent: Width = Field(16, description="dimensions of the latent variable")
    encoder: Network = Field(MLP(), description="the network from x to the parameters of q(z|x)")
    decoder: Network = Field(MLP(), description="the network from z to the parameters of p(x|z)")
    prior: Prior = Field(StandardNormal(), description="p(z), the distribution of the latent variable")
    posterior: Posterior = Field(DiagonalGaussian(), description="the family of q(z|x), the approximate posterior")
    likelihood: Likelihood = Field(Bernoulli(), description="the family of p(x|z), the distribution of the data")
    objective: Objective = Field(ELBO(), description="what the training minimises")
    output_bias: Literal["zeros", "mean"] = Field(
        "zeros",
        description="initial bias of the decoder's outputs; mean: such that it starts at the mean of (up to 10,000) "
        "training examples: sooner good (on MNIST 9 nats after an epoch, 1.2 after ten), with fewer active units in "
        "the end (on digits 4 instead of 9 to 12, at the same ELBO)",
    )

    @property
    def reads(self) -> tuple[str, ...]:
        return self.features + ((self.condition,) if self.condition else ())

    def check(self, specs: Specs) -> None:
        if len(set(self.features)) < max(1, len(self.features)):
            named = ", ".join(self.features) or "nothing"
            raise ConflictsError([Problem(("input",), f"names {named}; it names each feature that is modelled, once")])
        problems = []
        try:
            likelihood = self.likelihood.of({name: specs[name] for name in self.features})
        except ConflictsError as error:
            problems += [Problem(("likelihood", *problem.path), problem.sentence) for problem in error.problems]
        except ValueError as error:
            problems.append(Problem(("likelihood",), str(error)))
        else:
            problems += self._unfit_networks(likelihood)
        try:
            self.prior.check(self.condition)
        except ValueError as error:
            problems.append(Problem(("prior",), str(error)))
        if self.condition in self.features:
            problems.append(Problem(("condition",), f"'{self.condition}' is modelled, as model.input says"))
        elif self.condition is not None and specs[self.condition].ragged:
            problems.append(
                Problem(("condition",), f"'{self.condition}' is a sequence; numbers and classes may be given")
            )
        if problems:
            raise ConflictsError(problems)

    def _unfit_networks(self, likelihood: Likelihood) -> Iterator[Problem]:
        try:
            self.encoder.check_encoder(likelihood.inputs)
        except ValueError as error:
            yield Problem(("encoder", "kind"), str(error))
        if self.decoder.is_autoregressive and not isinstance(likelihood, SequenceLikelihood):
            allowed = "a likelihood of sequences, or another decoder"
            sentence = f"'{self.decoder.kind}' reads what stands before; '{likelihood.kind}' has no order: {allowed}"
            yield Problem(("decoder", "kind"), sentence)
            return
        try:
            self.decoder.check_decoder(likelihood.outputs)
        except ValueError as error:
            yield Problem(("decoder", "kind"), str(error))

    def outcome_space(self, specs: Specs) -> str:
        space = self.likelihood.of({name: specs[name] for name in self.features}).outcome_space
        return f"{space}, given {self.condition}" if self.condition else space

    def build(self, specs: Specs, seed: int = 0, policy: str = "float32") -> "FlatVAE":
        try:
            self.check(specs)
        except ConflictsError as error:
            raise RequestError("; ".join(f"model.{problem}" for problem in error.problems)) from None
        return FlatVAE(self, specs, seed, policy)


class FlatVAE(Model):
    """A VAE with one layer of latents (Kingma and Welling, 2014; Rezende et al., 2014).

    With a condition c it models p(x|c): encoder, decoder and prior get c as an input (Sohn et al., 2015).

    Args:
        config: The settings.
        specs: The specs of the features that the model reads.
        seed: The seed of the initial weights.
        policy: The dtype policy of hidden layers.
    """

    config: Flat

    def __init__(self, config: Flat, specs: Specs, seed: int = 0, policy: str = "float32") -> None:
        self.config, self.specs, self.latent = config, {name: specs[name] for name in config.reads}, config.latent
        self.likelihood = config.likelihood.of({name: specs[name] for name in config.features})
        self.given = (config.condition,) if config.condition else ()
        self.loops_are_slow = config.encoder.loops_are_slow or config.decoder.loops_are_slow
        drawn = seeds(seed)
        likelihood, posterior, condition = self.likelihood, config.posterior, self._condition_size
        numbers = posterior.outputs(config.latent)
        self.encoder = built(
            config.encoder.encoder,
            Site("encoder", likelihood.inputs, (numbers,), drawn, condition=condition, policy=policy),
            f"a latent of {config.latent}",
        )
        # What an autoregressive decoder generates one value after the other; None for every other decoder.
        self.sequence = (
            likelihood if config.decoder.is_autoregressive and isinstance(likelihood, SequenceLikelihood) else None
        )
        context = None if self.sequence is None else self.sequence.context
        self.decoder = built(
            config.decoder.decoder,
            Site("decoder", (config.latent + condition,), likelihood.outputs, drawn, context=context, policy=policy),
            f"{', '.join(config.features)} of shape {list(likelihood.inputs)}",
        )
        self.posterior = posterior.layer(config.latent, drawn)
        self.prior = config.prior.layer(PriorSite(config.latent, condition, likelihood.inputs, drawn))

    @cached_property
    def parts(self) -> "Mapping[str, keras.Layer]":
        found = {"encoder": self.encoder, "decoder": self.decoder, "posterior": self.posterior, "prior": self.prior}
        return {name: layer for name, layer in found.items() if layer is not None}

    @cached_property
    def players(self) -> tuple[Player, ...]:
        return (Player.whole(self, self.config.objective),)

    @property
    def training_draws(self) -> tuple[Draw, ...]:
        from elboflow.vae.layers import dropout

        samples = self.config.objective.draws
        draws = list(self.draws(samples))
        if units := dropout.units(self.encoder):
            draws.append(Draw("encoder_dropout", "uniform", (units,)))
        if units := dropout.units(self.decoder):
            draws.append(Draw("decoder_dropout", "uniform", (units,), samples))
        return tuple(draws)

    def draws(self, samples: int) -> tuple[Draw, ...]:
        z = Draw("z", "normal", self.config.posterior.noise(self.latent), samples)
        return (z,) if self.likelihood.noise is None else (z, Draw("x", "uniform", self.likelihood.noise))

    @property
    def prior_draws(self) -> tuple[Draw, ...]:
        return (Draw("z", "normal", self.config.prior.noise(self.latent)),)

    @property
    def decoding_draws(self) -> tuple[Draw, ...]:
        shape = self.likelihood.sampling
        return () if shape is None else (Draw("values", "uniform", shape),)

    def terms(self, batch: Batch, noise: Noise) -> Terms:
        x, condition = self.likelihood.prepare(batch, noise.get("x")), self._condition(batch)
        posterior = self._posterior(self.likelihood.seen(x), condition, noise.get("encoder_dropout"))
        z = posterior.sample(noise["z"])
        outputs = self._outputs(z, condition, x, noise.get("decoder_dropout"))
        return Terms(self.likelihood.log_prob(x, outputs), (Latent(z, posterior, self._prior(condition)),))

    def encode(self, batch: Batch, noise: Noise) -> tuple[Tensor, ...]:
        x = self.likelihood.prepare(batch, noise.get("x"))
        return (self._posterior(self.likelihood.seen(x), self._condition(batch)).mean,)

    def from_prior(self, noise: Noise, batch: Batch) -> tuple[Tensor, ...]:
        return (self._prior(self._condition(batch)).sample(noise["z"]),)

    def decode(self, latents: tuple[Tensor, ...], batch: Batch, noise: Noise) -> Batch:
        (z,) = latents
        condition, uniform = self._condition(batch), noise.get("values")
        if (sequence := self.sequence) is None:
            outputs = self._outputs(z[None], condition)[0]
            return self.likelihood.mean(outputs) if uniform is None else self.likelihood.sample(outputs, uniform)

        def extended(position: Tensor, x: Tensor) -> Tensor:
            return sequence.extended(x, self._outputs(z[None], condition, x)[0], position, uniform)

        x = ops.fori_loop(0, sequence.context[0], extended, sequence.blank(ops.shape(z)[0]))
        return sequence.values(x)

    @property
    def examples_to_start(self) -> int:
        if self.config.output_bias == "zeros":
            return 0
        values = sum(spec.size for spec in self.likelihood.specs.values())
        return max(1, min(_START_EXAMPLES, _START_VALUES // values))

    def start(self, examples: Examples) -> None:
        """Sets the initial bias of the decoder's outputs, so that they start at the mean of training examples.

        If the output layer is applied at every position of a grid or sequence, all positions share its bias, which
        then starts at the mean over the positions.

        Raises:
            RequestError: The decoder has no such bias, or the likelihood does not define its initial value.
        """
        if self.config.output_bias == "zeros":
            return
        layers = {layer.name: layer for layer in getattr(self.decoder, "layers", ())}
        bias = getattr(layers.get(OUTPUT), "bias", None)
        if bias is None or bias.shape not in ((self.outputs,), self.likelihood.outputs[-1:]):
            raise self._no_mean(
                f"the decoder '{self.config.decoder.kind}'", f"no layer '{OUTPUT}' with a bias for each output"
            )
        is_of_all = bias.shape[0] == self.outputs
        made = self.likelihood.bias if is_of_all else self.likelihood.shared_bias
        if (initial := made(examples.features)) is None:
            raise self._no_mean(f"the likelihood '{self.likelihood.kind}'", "no outputs of a given mean")
        bias.assign(initial.reshape(-1))

    def _no_mean(self, part: str, absent: str) -> RequestError:
        return RequestError(f"model.output_bias: mean is not possible, because {part} has {absent}; allowed: zeros")

    def _posterior(self, seen: Tensor, condition: Tensor | None, dropped: Tensor | None = None) -> Distribution:
        from elboflow.vae.layers.dropout import dropping

        with dropping(self.encoder, dropped):
            outputs = self.encoder(seen if condition is None else [seen, condition])
        return self.config.posterior.distribution(self.posterior, ops.cast(outputs, "float32"))

    def _prior(self, condition: Tensor | None) -> Distribution:
        return self.config.prior.distribution(self.prior, condition, lambda seen: self._posterior(seen, None))

    def _outputs(self, z: Tensor, condition: Tensor | None, x: Tensor = None, dropped: Tensor | None = None) -> Tensor:
        """Returns the parameters of p(x|z), `[samples, batch, *outputs]`, for z `[samples, batch, latent]`."""
        from elboflow.vae.layers.dropout import dropping

        samples, batch, _ = ops.shape(z)
        if condition is not None:
            given = ops.broadcast_to(condition[None], (samples, batch, condition.shape[-1]))
            z = ops.concatenate([z, given], axis=-1)
        inputs = ops.reshape(z, (-1, z.shape[-1]))
        if self.sequence is not None:
            previous = self.sequence.previous(x)[None]
            tiled = ops.broadcast_to(previous, (samples, *ops.shape(previous)[1:]))
            inputs = [inputs, ops.reshape(tiled, (-1, *previous.shape[2:]))]
        if dropped is not None:
            dropped = ops.reshape(dropped, (-1, dropped.shape[-1]))
        with dropping(self.decoder, dropped):
            outputs = ops.cast(self.decoder(inputs), "float32")
        return ops.reshape(outputs, (samples, batch, *outputs.shape[1:]))

    @property
    def _condition_size(self) -> int:
        return sum(specs_.vector_size(self.specs[name]) for name in self.given)

    def _condition(self, batch: Batch) -> Tensor | None:
        """Returns the condition as one vector, `[batch, numbers]`; None for an unconditional model."""
        return specs_.joined({name: self.specs[name] for name in self.given}, batch) if self.given else None
