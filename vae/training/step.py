"""One training step, up to what each backend must do for itself (`vae.backends`)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import keras
from keras import ops

from vae import objectives
from vae.distributions import Tensor
from vae.model import VAE
from vae.training.optimizers import clipped_by_value

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
    """

    model: VAE
    objective: objectives.Loss
    optimizer: keras.optimizers.Optimizer
    rate: Callable[[Tensor, Tensor], Tensor]
    batch_size: int
    micro_batches: int = 1
    clip_value: float | None = None
    skips_non_finite: bool = False

    @property
    def draws(self) -> tuple[Draw, ...]:
        """What a step draws, in the order in which `loss` takes it: a function of (seed, step, place in it)."""
        normal = Draw("normal", (self.batch_size, 1, self.model.latent))
        if not self.model.likelihood.is_random:
            return (normal,)
        return normal, Draw("uniform", (self.batch_size, *self.model.spec.shape))

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
        normal, *uniform = drawn
        x = self.model.prepare(codes, uniform[0] if uniform else None)
        terms = self.model.terms(x, ops.moveaxis(normal, 1, 0))
        means = ops.mean(objectives.reconstruction(terms)), ops.mean(objectives.kl(terms))
        return ops.mean(weights * self.objective(terms, number)), means

    def scaled(self, loss: Tensor) -> Tensor:
        """Returns what is differentiated: with float16 a multiple of it, lest small gradients vanish."""
        return self.optimizer.scale_loss(loss)

    def norm(self, gradients: list[Tensor]) -> Tensor:
        """Returns the global norm of the gradient of the loss, given those of the scaled loss."""
        squares = sum(ops.sum(ops.square(gradient)) for gradient in gradients)
        return ops.sqrt(squares) / self.optimizer.scale_loss(1.0)

    def clipped(self, gradients: list[Tensor]) -> list[Tensor]:
        """Returns the gradients of the scaled loss, cut element by element; the optimizer clips their norm."""
        if self.clip_value is None:
            return gradients
        return clipped_by_value(gradients, self.clip_value, self.optimizer)
