"""The learning rate as a function of the step and of the validation ELBOs so far."""

import itertools
import logging
import math
from collections.abc import Sequence

from keras import ops

from elboflow.settings.text import counted
from elboflow.vae import config
from elboflow.vae.compute.training_step import Rate
from elboflow.vae.terms import Tensor

logger = logging.getLogger("elboflow.training")


def rate(settings: config.LearningRate, steps_per_epoch: int, total_steps: int) -> Rate:
    """Returns the learning rate of a schedule: a linear warm-up from zero, then the rate of the schedule's kind.

    Args:
        settings: The settings of the schedule.
        steps_per_epoch: The number of steps of an epoch, the unit of `stages`.
        total_steps: The number of steps of the whole training, at which a cosine ends.

    Returns:
        A function of the step, from 0, and of the factor by which plateaus have lowered the rate so far. Only a plateau
        schedule uses the factor.
    """
    warmup = settings.warmup_steps
    after_warmup = _after_warmup(settings, steps_per_epoch, total_steps)

    def at(step: Tensor, factor: Tensor) -> Tensor:
        step = ops.cast(step, "float32")
        rate = after_warmup(step, factor)
        return rate * ops.minimum(1.0, (step + 1) / warmup) if warmup else rate

    return at


def plateau_factor(settings: config.LearningRate, elbos: Sequence[float]) -> float:
    """Returns the factor of `rate` after epochs with these validation ELBOs, in nats; 1 without a plateau schedule."""
    if not isinstance(settings, config.Plateau):
        return 1.0
    factor, best, waited = 1.0, -math.inf, 0
    for elbo in elbos:
        better = elbo > best + settings.minimum_change
        best, waited = (elbo, 0) if better else (best, waited + 1)
        if waited == settings.patience:
            factor, waited = factor * settings.factor, 0
    return factor


def warn_of_endless_warmup(settings: config.LearningRate, total_steps: int) -> None:
    """Warns if the whole training ends within the warm-up."""
    if settings.warmup_steps >= total_steps:
        logger.warning(
            "training.learning_rate.warmup_steps is %d, and the whole training has %s: the learning rate never "
            "reaches its initial value",
            settings.warmup_steps,
            counted(total_steps, "step"),
        )


def _after_warmup(settings: config.LearningRate, steps_per_epoch: int, total_steps: int) -> Rate:
    """Returns the rate without the warm-up, as a function of the step as float32."""
    warmup = settings.warmup_steps
    match settings:
        case config.Constant(initial=initial):
            return lambda step, factor: ops.zeros_like(step) + initial
        case config.Cosine(initial=initial, final=final):
            steps = max(total_steps - warmup, 1)

            def cosine(step: Tensor, factor: Tensor) -> Tensor:
                done = ops.clip((step - warmup) / steps, 0.0, 1.0)
                return final + (initial - final) * 0.5 * (1 + ops.cos(math.pi * done))

            return cosine
        case config.Exponential(initial=initial, factor=decay, every_steps=every):
            return lambda step, factor: initial * ops.power(decay, ops.maximum(step - warmup, 0.0) / every)
        case config.Stages(initial=initial, factor=decay):
            first_steps = _stages(settings, steps_per_epoch, total_steps)

            def stages(step: Tensor, factor: Tensor) -> Tensor:
                stage = sum((ops.cast(step >= first, "float32") for first in first_steps), start=ops.zeros_like(step))
                return initial * ops.power(decay, stage)

            return stages
        case config.Plateau(initial=initial, final=final):
            lowest = min(initial, final)
            return lambda step, factor: ops.zeros_like(step) + ops.maximum(initial * factor, lowest)


def _stages(settings: config.Stages, steps_per_epoch: int, total_steps: int) -> list[int]:
    """Returns the first step of every stage that begins before the end of the training, except stage 0."""
    epochs = itertools.accumulate(settings.growth**stage for stage in range(settings.stages - 1))
    return list(itertools.takewhile(lambda step: step < total_steps, (count * steps_per_epoch for count in epochs)))
