"""The training loop."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from settings import WorkError
from vae import objectives
from vae.backends import implementation
from vae.backends.cluster import Cluster
from vae.config import ModelConfig, Skip, TrainingConfig
from vae.data import Examples, ImageSpec, Source
from vae.model import VAE
from vae.training import schedule
from vae.training.calls import Calls
from vae.training.checkpoints import Keeper
from vae.training.curves import Curves, Group
from vae.training.feed import Feed
from vae.training.interruption import Interruption, deferred
from vae.training.optimizers import optimizer
from vae.training.progress import Display, display
from vae.training.state import Best, State, Sums, assign, values
from vae.training.step import MEASURES, TrainingStep
from vae.training.validation import validator
from vae.watch import Observer, Watch, WatchStoppedError

logger = logging.getLogger("elboflow.training")


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        model: The model; with early stopping it has the weights of the best epoch by validation ELBO, else the last.
        curves: What was measured.
        best_epoch: The epoch of the best validation ELBO, from 1.
        epochs: Epochs done.
    """

    model: VAE
    curves: Curves
    best_epoch: int
    epochs: int


def train(
    source: Source,
    validation: Examples,
    spec: ImageSpec,
    model: ModelConfig,
    training: TrainingConfig,
    seed: int,
    checkpoints: Path,
    identity: dict[str, Any],
    *,
    cluster: Cluster | None = None,
    restart: bool = False,
    watch: Watch | None = None,
    observers: Sequence[Observer] = (),
) -> Trained:
    """Trains a VAE. The same arguments on the same kind of device give the same weights, interrupted in between or not.

    Args:
        source: The examples to learn from.
        validation: The examples that decide which epoch is the best, and when to stop.
        spec: What the images are.
        model: The model's settings.
        training: The training's settings.
        seed: Fixes initial weights, order and noise.
        checkpoints: The folder of the checkpoints; where there is one, training goes on from it.
        identity: What this training is a function of, as JSON values; a checkpoint of another identity is refused.
        cluster: The machines that train together, if they are several.
        restart: Whether to start over instead. The old checkpoints are moved aside.
        watch: Is told the validation ELBO of every epoch, and may stop the training after any.
        observers: Are told the curves as they grow.

    Returns:
        The trained model and its curves.

    Raises:
        RequestError: The checkpoints are another training's.
        WorkError: A split does not fit the settings, or a term of the bound became NaN or infinite; the checkpoint
            then holds the last good state.
        WatchStoppedError: The watch stopped it.
    """
    _check(source, validation, spec, training)
    vae = VAE(model, spec, seed)
    place = (cluster.index, cluster.processes) if cluster else (0, 1)
    feed = Feed(source, training.batch_size, seed, training.memory_megabytes, *place)
    total = min(training.epochs * feed.steps, training.max_steps or training.epochs * feed.steps)
    logger.info(
        "training %s parameters on %s examples, %d steps an epoch",
        f"{vae.count_params():,}",
        f"{feed.examples:,}",
        feed.steps,
    )
    _say_what_is_odd(training, total)
    with (
        deferred() as interruption,
        Keeper(checkpoints, identity, training.checkpoints, restart, chief=place[0] == 0) as keeper,
        display(total) as shown,
    ):
        loop = _Loop(vae, feed, validation, training, seed, total, keeper, shown, interruption, watch, observers)
        return loop.run()


class _Loop:
    """One training at work."""

    def __init__(
        self,
        vae: VAE,
        feed: Feed,
        validation: Examples,
        training: TrainingConfig,
        seed: int,
        total: int,
        keeper: Keeper,
        shown: Display,
        interruption: Interruption,
        watch: Watch | None,
        observers: Sequence[Observer],
    ) -> None:
        self._vae, self._feed, self._training, self._total = vae, feed, training, total
        self._keeper, self._shown, self._interruption = keeper, shown, interruption
        self._watch, self._observers = watch, observers
        self._optimizer = optimizer(training)
        step = TrainingStep(
            vae,
            objectives.objective(vae.config.objective),
            self._optimizer,
            schedule.rate(training.learning_rate, feed.steps, total),
            training.batch_size,
            training.micro_batches,
            training.gradient_clip_value,
            skips_non_finite=isinstance(training.non_finite, Skip) or training.precision == "float16",
        )
        self._steps = implementation().training(step, seed)
        self._calls = Calls(self._steps, feed.batch, feed.steps)
        self._validate = validator(vae, validation, seed)
        self._variables = [*vae.variables, *self._optimizer.variables]
        self._state = keeper.latest() or State(values(self._variables))
        assign(self._variables, self._state.variables)
        self._held: tuple[Examples, Any] | None = None

    def run(self) -> Trained:
        """Trains up to the end, or until something ends it."""
        state = self._state
        if state.step:
            logger.info("going on after step %d of %d", state.step, self._total)
        self._tell_watch(1)
        while not self._is_over():
            self._epoch()
        logger.info(
            "trained %d epochs; best validation ELBO %.2f nats, in epoch %d",
            state.epoch,
            state.best.elbo,
            state.best.epoch,
        )
        if self._training.early_stopping:
            assign(self._vae.variables, state.best.weights)
        return Trained(self._vae, state.curves, state.best.epoch, state.epoch)

    def _is_over(self) -> bool:
        state, stopping = self._state, self._training.early_stopping
        if self._interruption or state.step >= self._total:
            return True
        return stopping is not None and state.epoch - state.best.epoch >= stopping.patience

    def _epoch(self) -> None:
        """Trains up to the end of the epoch under way."""
        state = self._state
        begun, first = time.monotonic(), state.step
        end = min((state.epoch + 1) * self._feed.steps, self._total)
        for portion in self._feed.epoch(state.epoch + 1, skip=state.step - state.epoch * self._feed.steps):
            if self._held is None or self._held[0] is not portion.examples:
                self._held = portion.examples, self._steps.hold(portion.examples, self._feed.capacity)
            for measures in self._calls.run(self._held[1], portion.rows[: end - state.step], state.step, 1.0):
                self._stop_at_nan(measures)
                state.sums.add(measures)
                state.step += len(measures)
                self._shown.steps(state.step)
                if self._interruption or self._keeper.due(state.step):
                    self._keep()
                if self._interruption:
                    return
        self._end_of_epoch((state.step - first) * self._training.batch_size / (time.monotonic() - begun))

    def _end_of_epoch(self, speed: float) -> None:
        state, epoch = self._state, self._state.epoch + 1
        means = state.sums.means()
        means["elbo"] = means["reconstruction"] - means["kl"]
        self._record(
            "train",
            epoch,
            **means,
            learning_rate=float(self._optimizer.learning_rate),
            skipped_steps=state.sums.skipped,
        )
        self._record(
            "machine",
            epoch,
            examples_per_second=round(speed),
            step_milliseconds=1000 * self._training.batch_size / speed,
        )
        reconstruction, kl = self._validate()
        self._stop_at_bad_validation(reconstruction, kl)
        self._record("validation", epoch, elbo=reconstruction - kl, reconstruction=reconstruction, kl=kl)
        state.epoch, state.sums = epoch, Sums()
        stopping = self._training.early_stopping
        if reconstruction - kl > state.best.elbo + (stopping.minimum_change if stopping else 0.0):
            state.best = Best(epoch, reconstruction - kl, values(self._vae.variables))
        self._keep()
        self._shown.epoch(
            epoch,
            self._training.epochs,
            f"validation ELBO {reconstruction - kl:.2f} nats, {speed:,.0f} examples/s",
        )
        self._tell_watch(epoch)

    def _record(self, group: Group, epoch: int, **numbers: float) -> None:
        self._state.curves.add(group, epoch=epoch, step=self._state.step, **numbers)
        for observer in self._observers:
            observer(group, epoch, self._state.step, numbers)

    def _keep(self) -> None:
        self._state.variables = values(self._variables)
        self._keeper.keep(self._state)

    def _tell_watch(self, first: int) -> None:
        """Tells the watch of the epochs from the first on."""
        for epoch, elbo in enumerate(self._state.curves.validation.get("elbo", [])[first - 1 :], first):
            if self._watch is not None and not self._watch(epoch, elbo):
                raise WatchStoppedError(self._state.epoch, self._state.curves.as_json())

    def _stop_at_nan(self, measures: np.ndarray) -> None:
        bad = ~np.isfinite(measures)
        if not bad.any():
            return
        row = int(bad.any(axis=1).argmax())
        # The loss and its gradient are made of the terms: a bad term is the cause, a bad loss its effect.
        term = next(
            name for name in ("reconstruction", "kl", "loss", "gradient_norm") if bad[row, MEASURES.index(name)]
        )
        where = f"step {self._state.step + row} of epoch {self._state.epoch + 1}: the {term.replace('_', ' ')}"
        raise self._broken(where, float(measures[row, MEASURES.index(term)]))

    def _stop_at_bad_validation(self, reconstruction: float, kl: float) -> None:
        """The last step broke the weights, or the validation split shows it first."""
        if np.isfinite(reconstruction - kl):
            return
        name, value = ("reconstruction", reconstruction) if not np.isfinite(reconstruction) else ("kl", kl)
        where = f"validation after step {self._state.step - 1} of epoch {self._state.epoch + 1}: its {name}"
        raise self._broken(where, value)

    def _broken(self, what: str, value: float) -> WorkError:
        return WorkError(
            f"training stopped at {what} became {value}; {self._keeper.kept()}. "
            "A lower training.learning_rate or training.gradient_clip may help"
        )


def _check(source: Source, validation: Examples, spec: ImageSpec, training: TrainingConfig) -> None:
    examples = sum(source.counts)
    if examples < training.batch_size:
        raise WorkError(
            f"training.batch_size is {training.batch_size}; the train split holds {examples} examples, "
            "and a batch can be no larger"
        )
    validation.check(spec, "validation")


def _say_what_is_odd(training: TrainingConfig, total: int) -> None:
    if training.learning_rate.warmup_steps >= total:
        logger.warning(
            "training.learning_rate.warmup_steps is %d, and the whole training has %d steps: the learning rate never "
            "reaches its initial value",
            training.learning_rate.warmup_steps,
            total,
        )
