"""The training loop."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from settings import WorkError
from vae import objectives
from vae.backends import Steps, implementation
from vae.config import EarlyStopping, ModelConfig, TrainingConfig
from vae.data import Examples, ImageSpec
from vae.model import VAE
from vae.training.checkpoint import Keeper, State, assign, load, values
from vae.training.curves import Curves
from vae.training.progress import display
from vae.training.schedule import LearningRate
from vae.training.step import MEASURES, TrainingStep, optimizer
from vae.training.validation import validator
from vae.watch import Watch, WatchStoppedError

logger = logging.getLogger("elboflow.training")

# A compiled call takes up to this many steps, and about this long, so that Ctrl-C and the display never wait.
STEPS_PER_CALL = 1024
SECONDS_PER_CALL = 0.5


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
    examples: Examples,
    validation: Examples,
    spec: ImageSpec,
    model: ModelConfig,
    training: TrainingConfig,
    seed: int,
    saved: Path,
    identity: dict[str, Any],
    watch: Watch | None = None,
) -> Trained:
    """Trains a VAE. The same arguments on the same kind of device give the same weights, interrupted in between or not.

    Args:
        examples: The examples to learn from.
        validation: The examples that decide which epoch is the best, and when to stop.
        spec: What the images are.
        model: The model's settings.
        training: The training's settings.
        seed: Fixes initial weights, order and noise.
        saved: The checkpoint's file; where it is there already, training goes on from it.
        identity: What this training is a function of, as JSON values; a checkpoint of another identity is not used.
        watch: Is told the validation ELBO of every epoch, and may stop the training after any.

    Returns:
        The trained model and its curves.

    Raises:
        WorkError: A split does not fit the settings, or a term of the bound became NaN or infinite; the checkpoint
            then holds the end of the last good epoch.
        WatchStoppedError: The watch stopped it.
    """
    _check(examples, validation, spec, training)
    vae = VAE(model, spec, seed)
    steps = len(examples) // training.batch_size
    adam = optimizer(LearningRate(training.learning_rate, training.epochs * steps))
    step = TrainingStep(vae, objectives.objective(model.objective), training.gradient_clip)
    calls = _Calls(implementation().training(step, adam, examples.images, seed))
    validate = validator(vae, validation, seed)
    logger.info(
        "training %s parameters on %s examples, %d steps an epoch",
        f"{vae.count_params():,}",
        f"{len(examples):,}",
        steps,
    )

    if training.learning_rate.warmup_steps >= (total := training.epochs * steps):
        logger.warning(
            "training.learning_rate.warmup_steps is %d, and the whole training has %d steps: the learning rate never "
            "reaches its initial value",
            training.learning_rate.warmup_steps,
            total,
        )
    state = load(saved, identity)
    if state:
        logger.info("going on after epoch %d of %d, from %s", state.epoch, training.epochs, saved)
        assign([*vae.variables, *adam.variables], [*state.weights, *state.optimizer])
    else:
        state = State(weights=values(vae.variables), optimizer=values(adam.variables))

    with display(training.epochs * steps) as shown, Keeper(saved, identity) as keeper:
        _tell(watch, state, 1)
        while state.epoch < training.epochs and not _out_of_patience(state, training.early_stopping):
            epoch, started, parts = state.epoch + 1, time.monotonic(), []
            rows = _order(seed, epoch, len(examples))[: steps * training.batch_size].reshape(steps, -1)
            for first_step, measures in calls.run(rows, (epoch - 1) * steps):
                _stop_at_nan(measures, first_step, epoch, keeper)
                shown.steps(first_step + len(measures))
                parts.append(measures)
            speed = rows.size / (time.monotonic() - started)
            _record(state.curves, epoch, epoch * steps, np.concatenate(parts), float(adam.learning_rate), speed)
            elbo = _validated(state.curves, epoch, epoch * steps, validate(), keeper)
            state.advance(values(vae.variables), values(adam.variables), elbo, _minimum_change(training))
            keeper.keep(state)
            shown.epoch(epoch, training.epochs, f"validation ELBO {elbo:.2f} nats, {speed:,.0f} examples/s")
            _tell(watch, state, epoch)

    logger.info(
        "trained %d epochs; best validation ELBO %.2f nats, in epoch %d", state.epoch, state.best_elbo, state.best_epoch
    )
    if training.early_stopping:
        assign(vae.variables, state.best_weights)
    return Trained(vae, state.curves, state.best_epoch, state.epoch)


class _Calls:
    """Splits the steps of an epoch into compiled calls that take about `SECONDS_PER_CALL`, as measured so far."""

    def __init__(self, run: Steps) -> None:
        self._run = run
        self._count = 1  # the first call compiles: how long a step takes shows from the second on

    def run(self, rows: np.ndarray, first_step: int) -> Iterator[tuple[int, np.ndarray]]:
        """Runs one step per row of `rows` `[steps, batch]`; yields each call's first step and measures."""
        indices = np.zeros((min(len(rows), STEPS_PER_CALL), rows.shape[1]), np.int32)
        done = 0
        while done < len(rows):
            count = min(self._count, len(rows) - done, len(indices))
            indices[:count] = rows[done : done + count]
            started = time.monotonic()
            yield first_step + done, self._run(indices, first_step + done, count)
            done += count
            in_time = int(SECONDS_PER_CALL * count / (time.monotonic() - started))
            self._count = max(1, min(in_time, 8 * self._count))


def _check(examples: Examples, validation: Examples, spec: ImageSpec, training: TrainingConfig) -> None:
    if len(examples) < training.batch_size:
        raise WorkError(
            f"training.batch_size is {training.batch_size}; the train split holds {len(examples)} examples, "
            "and a batch can be no larger"
        )
    for split, held in (("train", examples), ("validation", validation)):
        held.check(spec, split)


def _order(seed: int, epoch: int, examples: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64))).permutation(examples)


def _stop_at_nan(measures: np.ndarray, first_step: int, epoch: int, keeper: Keeper) -> None:
    bad = ~np.isfinite(measures)
    if not bad.any():
        return
    row = int(bad.any(axis=1).argmax())
    # The loss and its gradient are made of the terms: a bad term is the cause, a bad loss its effect.
    term = next(name for name in ("reconstruction", "kl", "loss", "gradient_norm") if bad[row, MEASURES.index(name)])
    where = f"step {first_step + row} of epoch {epoch}: the {term.replace('_', ' ')}"
    raise _broken(where, float(measures[row, MEASURES.index(term)]), keeper)


def _broken(what: str, value: float, keeper: Keeper) -> WorkError:
    return WorkError(
        f"training stopped at {what} became {value}; {keeper.kept()}. "
        "A lower training.learning_rate or training.gradient_clip may help"
    )


def _record(curves: Curves, epoch: int, step: int, measures: np.ndarray, learning_rate: float, speed: float) -> None:
    loss, reconstruction, kl, gradient_norm = measures.mean(axis=0, dtype=np.float64).tolist()
    curves.add(
        "train",
        epoch=epoch,
        step=step,
        loss=loss,
        elbo=reconstruction - kl,
        reconstruction=reconstruction,
        kl=kl,
        gradient_norm=gradient_norm,
        learning_rate=learning_rate,
        examples_per_second=round(speed),
    )


def _validated(curves: Curves, epoch: int, step: int, bound: tuple[float, float], keeper: Keeper) -> float:
    reconstruction, kl = bound
    if not np.isfinite(reconstruction - kl):  # the last step broke the weights, or the validation split shows it first
        term = "kl" if np.isfinite(reconstruction) else "reconstruction"
        raise _broken(f"validation after step {step - 1} of epoch {epoch}: its {term}", bound[term == "kl"], keeper)
    curves.add("validation", epoch=epoch, step=step, elbo=reconstruction - kl, reconstruction=reconstruction, kl=kl)
    return reconstruction - kl


def _tell(watch: Watch | None, state: State, first: int) -> None:
    """Tells the watch of the epochs from the first on."""
    for epoch, elbo in enumerate(state.curves.validation.get("elbo", [])[first - 1 :], first):
        if watch is not None and not watch(epoch, elbo):
            raise WatchStoppedError(state.epoch, state.curves.as_json())


def _minimum_change(training: TrainingConfig) -> float:
    return training.early_stopping.minimum_change if training.early_stopping else 0.0


def _out_of_patience(state: State, stopping: EarlyStopping | None) -> bool:
    return stopping is not None and state.epoch - state.best_epoch >= stopping.patience
