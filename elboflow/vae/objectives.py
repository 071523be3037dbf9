"""Objectives: the terms of the bound → the loss of each example, in nats. Training minimises its (weighted) mean."""

from collections.abc import Callable

from keras import ops

from elboflow.vae import config
from elboflow.vae.distributions import Tensor
from elboflow.vae.model import Terms

Loss = Callable[[Terms, Tensor], Tensor]


def objective(settings: config.Objective) -> Loss:
    """Returns the loss that the settings name: a function of the terms and the step, `[batch]`."""
    match settings:
        case config.ELBO():
            return lambda terms, step: kl(terms) - reconstruction(terms)
        case config.Beta():
            return lambda terms, step: beta_at(settings, step) * kl(terms) - reconstruction(terms)


def reconstruction(terms: Terms) -> Tensor:
    """Returns the estimate of E_q log p(x|z) for each example, `[batch]`."""
    return ops.mean(terms.log_likelihood, axis=0)


def kl(terms: Terms) -> Tensor:
    """Returns KL(q(z|x) ‖ p(z)), summed over the layers of latents, for each example, `[batch]`."""
    return ops.sum(terms.kl, axis=0)


def beta_at(settings: config.Beta, step: Tensor) -> Tensor:
    """Returns the KL term's weight: beta (Higgins et al., 2017), after a linear warm-up (Sønderby et al., 2016)."""
    if not settings.warmup_steps:
        return settings.beta
    return settings.beta * ops.minimum(1.0, ops.cast(step, "float32") / settings.warmup_steps)
