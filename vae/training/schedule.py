"""Learning rate by step."""

import math

import keras
from keras import ops

from vae import config
from vae.distributions import Tensor


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate that the settings describe: a linear warm-up from zero, then constant, cosine or exponential.

    Args:
        settings: Kind of schedule and its numbers.
        total_steps: Steps of the whole training, where a cosine ends.
    """

    def __init__(self, settings: config.LearningRate, total_steps: int) -> None:
        self.settings, self.total_steps = settings, total_steps

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "float32")
        warmup = self.settings.warmup_steps
        rate = self._after_warmup(ops.maximum(step - warmup, 0.0), max(self.total_steps - warmup, 1))
        return rate * ops.minimum(1.0, (step + 1) / warmup) if warmup else rate

    def _after_warmup(self, step: Tensor, steps: int) -> Tensor:
        match self.settings:
            case config.Constant(initial=initial):
                return ops.zeros_like(step) + initial
            case config.Cosine(initial=initial, final=final):
                done = ops.minimum(step / steps, 1.0)
                return final + (initial - final) * 0.5 * (1 + ops.cos(math.pi * done))
            case config.Exponential(initial=initial, factor=factor, every_steps=every):
                return initial * ops.power(factor, step / every)
