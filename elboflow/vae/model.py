"""The variational autoencoder: networks, prior, posterior and likelihood → the terms of the bound."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from elboflow.settings import RequestError
from elboflow.vae import distributions, keras_file, networks, noise
from elboflow.vae.config import ModelConfig, Network
from elboflow.vae.data import ImageSpec
from elboflow.vae.distributions import DiagonalGaussian, StandardNormal, Tensor
from elboflow.vae.networks import dropout, layers


@dataclass(frozen=True)
class Terms:
    """The terms of the bound, in nats: objectives and evaluators are functions of them.

    Attributes:
        log_likelihood: log p(x|z), `[samples, batch]`.
        log_prior: log p(z), `[samples, batch]`.
        log_posterior: log q(z|x), `[samples, batch]`.
        kl: KL(q(z|x) ‖ p(z)) of each layer of latents, `[layers, batch]`, analytic where there is a closed form.
    """

    log_likelihood: Tensor
    log_prior: Tensor
    log_posterior: Tensor
    kl: Tensor


@keras.saving.register_keras_serializable(package="elboflow")
class VAE(keras.Model):
    """A VAE composed as its settings say (Kingma and Welling, 2014; Rezende et al., 2014).

    It holds no randomness: noise comes in as an argument, so that a result is a function of weights, data and noise.

    Args:
        config: The choice of networks, prior, posterior and likelihood.
        spec: The images that it models.
        seed: Fixes the initial weights.
    """

    def __init__(self, config: ModelConfig, spec: ImageSpec, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config, self.spec, self.latent = config, spec, config.latent
        self.prior = StandardNormal()
        self.likelihood = distributions.likelihood(config.likelihood, spec)
        height, width, channels = spec.shape
        seeds = (int(np.random.SeedSequence([seed, layer]).generate_state(1)[0]) for layer in itertools.count())
        self.encoder = networks.encoder(config.encoder, spec.shape, 2 * config.latent, seeds)
        outputs = (height, width, channels * self.likelihood.parameters)
        self.decoder = networks.decoder(config.decoder, config.latent, outputs, seeds)
        _check_outputs("encoder", self.encoder, (2 * config.latent,), f"a latent of {config.latent}")
        _check_outputs("decoder", self.decoder, outputs, f"an image of shape {list(spec.shape)}")
        self.built = True

    @property
    def outputs(self) -> int:
        """Numbers that the decoder makes of one z."""
        return self.spec.dimensions * self.likelihood.parameters

    def prepare(self, codes: Tensor, uniform: Tensor) -> Tensor:
        """Turns codes `[batch, height, width, channels]` into x in [0, 1]: binarised, dequantised or scaled."""
        return self.likelihood.prepare(codes, uniform)

    def uniform(self, seed: int, keys: np.ndarray) -> np.ndarray:
        """Returns the `uniform` of `prepare` in evaluation, fixed by (seed, example); zeros where it is not used."""
        if self.likelihood.is_random:
            return noise.uniform(seed, keys, self.spec.shape)
        return np.broadcast_to(np.float32(0), (len(keys), *self.spec.shape))

    def encode(self, x: Tensor, dropped: Tensor | None = None) -> DiagonalGaussian:
        """Returns q(z|x), its parameters `[batch, latent]`; `dropped` is the encoder's part of that of `terms`."""
        mean, log_variance = ops.split(_through(self.encoder, self.config.encoder, x, dropped), 2, axis=-1)
        return DiagonalGaussian(mean, log_variance)

    def decode(self, z: Tensor, dropped: Tensor | None = None) -> Tensor:
        """Returns the parameters of p(x|z), `[..., height, width, channels * parameters]`, for z `[..., latent]`.

        `dropped` is the decoder's part of that of `terms`, `[..., units]`.
        """
        leading = ops.shape(z)[:-1]
        if dropped is not None:
            dropped = ops.reshape(dropped, (-1, dropped.shape[-1]))
        outputs = _through(self.decoder, self.config.decoder, ops.reshape(z, (-1, self.latent)), dropped)
        return ops.reshape(outputs, (*leading, *outputs.shape[1:]))

    @cached_property
    def dropout_units(self) -> tuple[int, int]:
        """Units of the encoder and of the decoder that dropout may drop in training."""
        networks = (self.encoder, self.config.encoder), (self.decoder, self.config.decoder)
        encoder, decoder = (dropout.units(network) if settings.dropout else 0 for network, settings in networks)
        return encoder, decoder

    def terms(self, x: Tensor, noise: Tensor, dropped: Tensor | None = None) -> Terms:
        """Returns the terms of the bound.

        Args:
            x: What `prepare` made, `[batch, height, width, channels]`.
            noise: Standard normal, `[samples, batch, latent]`.
            dropped: Uniform numbers in [0, 1) that decide what dropout drops, `[batch, encoder's units + samples *
                decoder's units]`; without them, nothing is dropped.
        """
        encoder_dropped = decoder_dropped = None
        encoder_units, decoder_units = self.dropout_units
        if dropped is not None and encoder_units:
            encoder_dropped = dropped[:, :encoder_units]
        if dropped is not None and decoder_units:
            by_sample = ops.reshape(dropped[:, encoder_units:], (-1, noise.shape[0], decoder_units))
            decoder_dropped = ops.moveaxis(by_sample, 1, 0)
        posterior = self.encode(x, encoder_dropped)
        z = posterior.sample(noise)
        return Terms(
            log_likelihood=self.likelihood.log_prob(x, self.decode(z, decoder_dropped)),
            log_prior=self.prior.log_prob(z),
            log_posterior=posterior.log_prob(z),
            kl=ops.expand_dims(ops.sum(self.kl_by_unit(posterior), axis=-1), 0),
        )

    def kl_by_unit(self, posterior: DiagonalGaussian) -> Tensor:
        """Returns KL(q(z|x) ‖ p(z)) of each latent unit, `[batch, latent]`, in nats."""
        return self.prior.kl(posterior)

    def call(self, x: Tensor) -> Tensor:
        """Reconstructs x through the posterior's mean: expected intensities `[batch, height, width, channels]`."""
        return self.likelihood.mean(self.decode(self.encode(x).mean))

    def start_at(self, codes: np.ndarray) -> None:
        """Sets the initial bias of the decoder's outputs such that it starts at the mean of these training examples.

        A convolutional decoder has one bias for each output of a pixel, which starts at the mean over the pixels.

        Args:
            codes: Of the images, `[examples, height, width, channels]`.
        """
        bias = layers.output(self.decoder).bias
        if bias.shape[0] != self.outputs:
            codes = codes.reshape(-1, codes.shape[-1])
        bias.assign(self.likelihood.bias(codes).reshape(-1))

    def get_config(self) -> dict[str, Any]:
        spec = {"shape": list(self.spec.shape), "levels": self.spec.levels}
        return {"config": self.config.model_dump(mode="json"), "spec": spec}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "VAE":
        return cls(*keras_file.facts(config, "the configuration of a VAE"))


def load(path: Path) -> VAE:
    """Reads a `.keras` file that is not part of a model folder.

    Raises:
        WorkError: It holds no model of ours, or a weight is missing, of another shape, or not finite.
    """
    config, spec = keras_file.described(path)
    return restored(config, spec, keras_file.weights(path, config, spec))


def restored(config: ModelConfig, spec: ImageSpec, weights: Mapping[str, np.ndarray]) -> VAE:
    """Returns a model with these weights, by their places in a `.keras` file (`elboflow.vae.shapes`)."""
    model = VAE(config, spec)
    values = iter(weights.values())
    for layer in [*model.encoder.layers, *model.decoder.layers]:
        for variable in layer.weights:
            variable.assign(next(values))
    return model


def _check_outputs(name: str, network: keras.Sequential, expected: tuple[int, ...], of: str) -> None:
    """Raises RequestError where a network makes outputs of another shape; a likelihood would broadcast them."""
    found = tuple(network.output_shape[1:])
    if found != expected:
        raise RequestError(
            f"model.{name} makes outputs of shape {list(found)} for each example; {of} needs {list(expected)}"
        )


def _through(network: keras.Sequential, settings: Network, inputs: Tensor, dropped: Tensor | None) -> Tensor:
    """Returns the outputs of a network, as float32."""
    if dropped is None:
        return ops.cast(network(inputs), "float32")
    return ops.cast(dropout.call(network, inputs, settings.dropout, dropped), "float32")
