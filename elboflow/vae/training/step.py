"""One training step, up to what each backend must do for itself (`elboflow.vae.backends`)."""

import math
from dataclasses import dataclass
from typing import Literal

import keras
from keras import ops

from elboflow.vae import objectives
from elboflow.vae.config import Precision
from elboflow.vae.distributions import Tensor
from elboflow.vae.model import VAE
from elboflow.vae.networks.precision import computing_in
from elboflow.vae.training.optimizers import clipped_by_value
from elboflow.vae.training.schedule import Rate

SAMPLES = 1  # of z, for each example
MEASURES = ("loss", "reconstruction", "kl", "gradient_norm", "skipped")


@dataclass(frozen=True)
class Draw:
    """Random numbers that a step takes: uniform in [0, 1), or standard normal.

    Attributes:
        kind: Their distribution.
        shape: Their shape for a whole batch, over all devices; the batch comes first.
    """

    kind: Literal["uniform", "normal"]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class TrainingStep:
    """What a step computes, as functions that each backend compiles.

    Attributes:
        model: The model that is trained.
        objective: The loss of each example as a function of the terms of the bound and the step.
        optimizer: Its learning rate is a variable, which is set at every step.
        rate: The learning rate as a function of the step's number and a factor.
        batch_size: Examples of a step, over all devices.
        micro_batches: Parts in which a device computes its batch, one after the other.
        clip_value: Largest absolute element of the gradient, or None.
        skips_non_finite: Whether a step whose loss or gradient is not finite leaves weights and optimizer as they were.
        precision: In which the networks' hidden layers compute; with float16, `optimizer` is one that scales the loss.
    """

    model: VAE
    objective: objectives.Loss
    optimizer: keras.optimizers.Optimizer
    rate: Rate
    batch_size: int
    micro_batches: int = 1
    clip_value: float | None = None
    skips_non_finite: bool = False
    precision: Precision = "float32"

    @property
    def draws(self) -> tuple[Draw, ...]:
        """What a step draws, in the order in which `loss` takes it: a function of (seed, step, place in it)."""
        draws = [Draw("normal", (self.batch_size, SAMPLES, self.model.latent))]
        if self.model.likelihood.is_random:
            draws.append(Draw("uniform", (self.batch_size, *self.model.spec.shape)))
        encoder, decoder = self.model.dropout_units
        if encoder or decoder:
            draws.append(Draw("uniform", (self.batch_size, encoder + SAMPLES * decoder)))
        return tuple(draws)

    @property
    def optimizer_skips(self) -> bool:
        """Whether the optimizer itself does nothing with gradients that are not finite, but scale the loss by less.

        A backend that skips steps hands it all of them, then.
        """
        return isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)

    def loss(
        self, codes: Tensor, weights: Tensor, drawn: tuple[Tensor, ...], number: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Returns the loss of a batch, or of a part of it, and the unweighted means of reconstruction and KL, in nats.

        Args:
            codes: Of the images, `[batch, height, width, channels]`.
            weights: What each example counts, `[batch]`.
            drawn: The numbers of `draws` for these examples.
            number: The step's number, from 0.
        """
        normal, *others = drawn
        x = self.model.prepare(codes, others.pop(0) if self.model.likelihood.is_random else None)
        with computing_in(self.precision, self.model.encoder, self.model.decoder):
            terms = self.model.terms(x, ops.moveaxis(normal, 1, 0), others.pop() if others else None)
        means = ops.mean(objectives.reconstruction(terms)), ops.mean(objectives.kl(terms))
        return ops.mean(weights * self.objective(terms, number)), means

    def scaled(self, loss: Tensor) -> Tensor:
        """Returns what is differentiated: with float16 a multiple of it, lest small gradients vanish."""
        return self.optimizer.scale_loss(loss)

    def norm(self, gradients: list[Tensor]) -> Tensor:
        """Returns the global norm of the gradient of the loss, given those of the scaled loss."""
        squares = sum(ops.sum(ops.square(gradient)) for gradient in gradients)
        return ops.sqrt(squares) / self.optimizer.scale_loss(1.0)

    def clipped(self, gradients: list[Tensor], finite: Tensor) -> list[Tensor]:
        """Returns the gradients of the scaled loss, cut element by element; the optimizer clips their norm.

        Args:
            gradients: Of the scaled loss.
            finite: Whether the loss and the norm of its gradient are finite; if not, an optimizer that skips such steps
                is shown gradients that are not finite, either.
        """
        if self.optimizer_skips:
            gradients = [ops.where(finite, gradient, math.nan) for gradient in gradients]
        if self.clip_value is not None:
            limit = self.optimizer.scale_loss(self.clip_value)
            gradients = [clipped_by_value(gradient, limit) for gradient in gradients]
        return gradients
