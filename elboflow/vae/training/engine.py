"""The model, its optimizer and the compiled steps that change them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from keras import ops

from elboflow.vae import objectives
from elboflow.vae.backends import implementation
from elboflow.vae.config import Convolutional, Skip, TrainingConfig
from elboflow.vae.model import VAE
from elboflow.vae.training import schedule
from elboflow.vae.training.calls import Calls
from elboflow.vae.training.feed import Feed
from elboflow.vae.training.optimizers import optimizer
from elboflow.vae.training.profile import Profiler
from elboflow.vae.training.state import assign, values
from elboflow.vae.training.step import TrainingStep


class Engine:
    """What computes a training.

    Args:
        model: The model that is trained.
        feed: The batches.
        training: How it is trained.
        seed: Fixes all noise, with the step.
        total_steps: Steps of the whole training, where its schedule ends.
        profiler: Profiles some steps, if it is to.
    """

    def __init__(
        self, model: VAE, feed: Feed, training: TrainingConfig, seed: int, total_steps: int, profiler: Profiler
    ) -> None:
        self._model, self._feed, self._training = model, feed, training
        self._optimizer = optimizer(training)
        step = TrainingStep(
            model,
            objectives.objective(model.config.objective),
            self._optimizer,
            schedule.rate(training.learning_rate, feed.steps, total_steps),
            training.batch_size,
            training.micro_batches,
            training.gradient_clip_value,
            skips_non_finite=isinstance(training.non_finite, Skip) or training.precision == "float16",
            precision=training.precision,
        )
        self._steps = implementation().training(step, seed)
        self._calls = Calls(self._steps, feed.batch, 1 if _loops_are_slow(model) else feed.steps, profiler)

    def values(self) -> list[np.ndarray]:
        """Returns copies of the model's and the optimizer's variables: all that a step changes."""
        return values([*self._model.variables, *self._optimizer.variables])

    def assign(self, arrays: Sequence[np.ndarray]) -> None:
        """Sets these variables."""
        assign([*self._model.variables, *self._optimizer.variables], arrays)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step."""
        return float(self._optimizer.learning_rate)

    def run(self, epoch: int, first: int, steps: int, elbos: Sequence[float]) -> Iterator[np.ndarray]:
        """Runs steps of an epoch; yields the measures of each compiled call, `[steps, len(MEASURES)]`.

        Args:
            epoch: From 1.
            first: The first step, in the whole training; from 0.
            steps: How many.
            elbos: The validation ELBOs of the epochs before, which some schedules heed.
        """
        factor = schedule.plateau_factor(self._training.learning_rate, elbos)
        done, skip = 0, first - (epoch - 1) * self._feed.steps
        for portion in self._feed.epoch(epoch, skip, self._steps.hold) if steps else ():
            for measures in self._calls.run(portion.held, portion.rows[: steps - done], first + done, factor):
                done += len(measures)
                yield measures
            if done == steps:  # of the training, within the epoch: what follows need not be read
                return

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Swaps in the EMA weights for the duration, if `training.ema` is set."""
        if self._training.ema is None:
            yield
            return
        weights = self._model.trainable_variables
        before = [ops.copy(variable.value) for variable in weights]
        self.average()
        try:
            yield
        finally:
            for variable, value in zip(weights, before, strict=True):
                variable.assign(value)

    def average(self) -> None:
        """Gives the model the moving average of its weights for good, where `training.ema` asks for one."""
        if self._training.ema is not None:
            self._optimizer.finalize_variable_values(self._model.trainable_variables)


def _loops_are_slow(model: VAE) -> bool:
    """Whether many steps in one program take longer than one after the other.

    On processors, XLA computes convolutions within a loop without its fast kernels: a gradient takes 13 times as long.
    Processors are the devices that do not tell their memory.
    """
    convolves = any(isinstance(half, Convolutional) for half in (model.config.encoder, model.config.decoder))
    return convolves and implementation().memory() is None
