"""One training step, up to what each backend must do for itself (`vae.backends`)."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from vae import objectives
from vae.distributions import Tensor
from vae.model import VAE

MEASURES = ("loss", "reconstruction", "kl", "gradient_norm")


@dataclass(frozen=True)
class TrainingStep:
    """The loss of a batch and the clipping of its gradient.

    Attributes:
        model: The model that is trained.
        objective: The loss as a function of the terms of the bound and the step.
        gradient_clip: Largest global norm of the gradient, or None.
    """

    model: VAE
    objective: objectives.Loss
    gradient_clip: float | None

    def loss(
        self, codes: Tensor, uniform: Tensor, noise: Tensor, number: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Returns the loss, and the means over the batch of reconstruction and KL in nats."""
        terms = self.model.terms(self.model.prepare(codes, uniform), noise)
        means = ops.mean(objectives.reconstruction(terms)), ops.mean(objectives.kl(terms))
        return self.objective(terms, number), means

    def clipped(self, gradients: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Scales the gradients to the largest norm allowed (Pascanu et al., 2013); returns also their norm before."""
        norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
        if self.gradient_clip is None:
            return gradients, norm
        factor = ops.minimum(1.0, self.gradient_clip / (norm + 1e-12))
        return [gradient * factor for gradient in gradients], norm

    def uniform_shape(self, codes: Tensor) -> tuple[int, ...]:
        """Returns the shape of the uniform numbers that a batch of codes takes."""
        return tuple(codes.shape)

    def noise_shape(self, codes: Tensor) -> tuple[int, ...]:
        """Returns the shape of the normal numbers that a batch of codes takes: one sample of the latent each."""
        return (1, codes.shape[0], self.model.latent)


def optimizer(learning_rate: Any) -> keras.optimizers.Optimizer:
    """Returns Adam (Kingma and Ba, 2015)."""
    return keras.optimizers.Adam(learning_rate)
