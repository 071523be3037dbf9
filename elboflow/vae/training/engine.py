"""The model, its optimizers and the compiled steps that update them."""

import time
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from elboflow.vae import batches
from elboflow.vae.compute import implementation
from elboflow.vae.compute.contract import Job, Measures
from elboflow.vae.compute.training_step import TrainingStep, Turn
from elboflow.vae.config import Skip
from elboflow.vae.model import Model, variables
from elboflow.vae.training import schedule
from elboflow.vae.training.feed import Feed
from elboflow.vae.training.optimizers import optimizer
from elboflow.vae.training.pacing import Pace
from elboflow.vae.training.profile import Profiler
from elboflow.vae.training.state import State, assign, values


class Engine:
    """The computations of a training.

    Args:
        job: The training.
        feed: The batches.
        total_steps: The number of steps of the whole training, at which the schedule ends.
        profiler: Profiles some of the steps, if there is a profile.
    """

    def __init__(self, job: Job, feed: Feed, total_steps: int, profiler: Profiler) -> None:
        training = job.training
        self._feed, self._training, self._total_steps = feed, training, total_steps
        self._model = _initial_model(
            job, "float32" if training.precision == "float32" else f"mixed_{training.precision}"
        )
        is_validated = training.precision == "float32" and training.ema is None
        self._validated = self._model if is_validated else job.model.build(job.specs, job.seed)
        players = self._model.players
        self._turns = tuple(
            Turn(player, optimizer(training), f"{player.name}_" if len(players) > 1 else "") for player in players
        )
        step = TrainingStep(
            self._model,
            self._turns,
            schedule.rate(training.learning_rate, feed.steps, total_steps),
            training.batch_size,
            training.micro_batches,
            training.gradient_clip_value,
            skips_non_finite=isinstance(training.non_finite, Skip) or training.precision == "float16",
        )
        self._steps = implementation().training(step, job.seed)
        self._pace = Pace(1 if _loops_are_slow(self._model) else feed.steps, profiler)
        self._rows = np.zeros((self._pace.most, feed.batch), np.int32)  # of a fixed size: the step compiles once

    def values(self) -> list[np.ndarray]:
        """Returns copies of all variables that a step changes: those of the model and of the optimizers."""
        return values(self._variables)

    def assign(self, arrays: Sequence[np.ndarray]) -> None:
        """Sets the variables to arrays that `values` returned."""
        assign(self._variables, arrays)

    @property
    def parameters(self) -> int:
        """The number of the model's weights."""
        return sum(int(np.prod(variable.shape)) for variable in variables(self._model))

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What precedes the names of each player's measures."""
        return tuple(turn.prefix for turn in self._turns)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step."""
        return float(self._turns[0].optimizer.learning_rate)

    @property
    def validated(self) -> Model:
        """The model for validation, which is also saved at the end. It computes in float32."""
        return self._validated

    def refresh(self) -> None:
        """Copies the current weights, or the EMA weights if `training.ema` is set, to the model for validation."""
        if self._validated is self._model:
            return
        for variable, trained in zip(variables(self._validated), variables(self._model), strict=True):
            variable.assign(trained.value)
        if self._training.ema is not None:
            for turn, player in zip(self._turns, self._validated.players, strict=True):
                turn.optimizer.finalize_variable_values(list(player.variables))

    def run(self, state: State) -> Iterator[Measures]:
        """Runs the steps that are left of an epoch; yields the measures of each compiled call.

        Args:
            state: The state from which the epoch goes on. Its validation ELBOs decide a plateau schedule.
        """
        epoch, step = state.epoch + 1, state.step
        factor = schedule.plateau_factor(self._training.learning_rate, state.curves.validation.get("elbo", []))
        end = min(epoch * self._feed.steps, self._total_steps)
        skip = step - (epoch - 1) * self._feed.steps
        for portion in self._feed.epoch(epoch, skip, self._steps.to_device) if step < end else ():
            rows = portion.rows[: end - step]
            while len(rows):
                count = self._pace.next(len(rows))
                self._rows[:count] = rows[:count]
                started = time.monotonic()
                measures = self._steps(portion.on_device, self._rows, step, count, factor)
                self._pace.after(count, time.monotonic() - started)
                rows, step = rows[count:], step + count
                yield measures
            if step == end:  # the training may end within an epoch: do not read the next portion
                return

    @property
    def _variables(self) -> list[keras.Variable]:
        slots = [variable for turn in self._turns for variable in turn.optimizer.variables]
        return [*variables(self._model), *slots]


def _initial_model(job: Job, policy: str) -> Model:
    """Returns a new model with the weights at the start of training."""
    model = job.model.build(job.specs, job.seed, policy)
    if wanted := model.examples_to_start:
        model.start(batches.first(job.source, job.specs, wanted, "train"))
    return model


def _loops_are_slow(model: Model) -> bool:
    """Whether one program with many steps is slower on this device than a program for each step."""
    return model.loops_are_slow and implementation().on_processors()
