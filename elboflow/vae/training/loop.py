"""The training loop."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from elboflow.vae.compute import implementation
from elboflow.vae.compute.cluster import Cluster
from elboflow.vae.compute.contract import Job
from elboflow.vae.config import EarlyStopping, TrainingConfig
from elboflow.vae.model import variables
from elboflow.vae.terms import ELBO
from elboflow.vae.trained import Trained
from elboflow.vae.training.checkpoints import Keeper
from elboflow.vae.training.engine import Engine
from elboflow.vae.training.feed import Feed
from elboflow.vae.training.interruption import deferred
from elboflow.vae.training.lockstep import all_reduce_max, at_the_same_step
from elboflow.vae.training.non_finite import NonFinitePolicy
from elboflow.vae.training.profile import Profiler
from elboflow.vae.training.progress import display
from elboflow.vae.training.report import Report
from elboflow.vae.training.state import State, assign, values
from elboflow.vae.training.validation import validator
from elboflow.vae.watch import Observer, Watch, WatchStoppedError

logger = logging.getLogger("elboflow.training")

_WORKER = "elboflow.vae.training.torch_worker"
"""The module of a worker process, for backends with one process per device."""


def train(
    job: Job, *, cluster: Cluster | None = None, watch: Watch | None = None, observers: Sequence[Observer] = ()
) -> Trained:
    """Trains a model. The same job on the same kind of device gives the same weights, also after interruptions.

    Args:
        job: The training.
        cluster: The machines of a distributed training; None for a single machine.
        watch: A callback that gets the validation ELBO of every epoch, and can stop the training.
        observers: Callbacks that get the curves after every epoch.

    Returns:
        The trained model and its curves.

    Raises:
        RequestError: The checkpoints belong to another training.
        WorkError: A split does not fit the settings or is damaged; another training uses the folder of the checkpoints,
            or all checkpoints are damaged; a term of the bound became NaN or infinite (the last checkpoint is from
            before that); the machines of a distributed training were interrupted, or lost each other.
        WatchStoppedError: The watch stopped the training.
    """
    job.training.check_examples(sum(job.source.counts))
    with implementation().together(job, cluster, _WORKER) as processes, implementation().scope():
        trained = run(job, processes, watch, observers)
    if job.training.parallel is None:
        return trained
    whole = job.model.build(job.specs, job.seed)  # the weights of the trained model may be sharded
    assign(variables(whole), values(variables(trained.model)))
    return replace(trained, model=whole)


def run(job: Job, cluster: Cluster | None, watch: Watch | None = None, observers: Sequence[Observer] = ()) -> Trained:
    """Runs a training in this process, after the processes of a distributed training have connected.

    Args:
        job: The training.
        cluster: The cluster of all processes, with the index of this process; None for a single process.
        watch: As for `train`.
        observers: As for `train`.

    Returns:
        The trained model, whose weights may be sharded over devices, and its curves.

    Raises:
        RequestError, WorkError, WatchStoppedError: As for `train`.
    """
    training, fingerprint = job.training, job.fingerprint
    index, processes = (cluster.index, cluster.processes) if cluster else (0, 1)
    feed = Feed(job, index, processes)
    if feed.is_streamed:
        fingerprint = fingerprint | {"machines": processes}  # the streaming order depends on their number
    total = min(training.epochs * feed.steps, training.max_steps or training.epochs * feed.steps)
    _warn_of_endless_warmup(training, total)
    with (
        feed,
        deferred() as interruption,
        Keeper(job.checkpoints, fingerprint, training.checkpoints, job.restart, chief=index == 0) as keeper,
        Profiler(job.profile, writes=index == 0) as profiler,
        display(total) as shown,
    ):
        engine = Engine(job, feed, total, profiler)
        logger.info(
            "training %s on %s, %s an epoch",
            counted(engine.parameters, "parameter"),
            counted(feed.examples, "example"),
            counted(feed.steps, "step"),
        )
        state = _initial_state(keeper, engine, total)
        validate = validator(engine.validated, job.validation, job.seed, training.memory_megabytes)
        tolerance = NonFinitePolicy(training, keeper.kept, engine.prefixes)
        report = Report(state, watch, observers)
        begun = time.monotonic() - state.seconds
        seconds_allowed = 60 * training.max_minutes if training.max_minutes else math.inf

        def keep() -> None:
            state.variables, state.seconds = engine.values(), time.monotonic() - begun
            keeper.keep(state)

        report.tell_watch(1)
        ends = late = 0.0
        while not (ends or late or _is_over(state, total, training.early_stopping)):
            epoch, first, started = state.epoch + 1, state.step, time.monotonic()
            to_do = min(epoch * feed.steps, total) - first
            for measures in engine.run(epoch, first, to_do, state.curves.validation.get("elbo", [])):
                faults = tolerance.faults(measures, state.step, epoch, state.skipped)
                state.add(measures, engine.prefixes, faults)
                shown.steps(state.step)
                is_late = time.monotonic() - begun >= seconds_allowed
                ends, late, due = all_reduce_max(bool(interruption), is_late, keeper.due(state.step))
                if due or ends or late:
                    keep()
                if ends or late:
                    break
            if ends:
                break

            tolerance.check_epoch(state.sums, epoch)
            speed = (state.step - first) * training.batch_size / (time.monotonic() - started)
            report.add_steps(engine.learning_rate, speed, training.batch_size)
            engine.refresh()
            means = validate()
            tolerance.check_validation(means, state.step, epoch)
            report.add("validation", **means)
            state.end_epoch(means[ELBO], engine.validated, training.early_stopping)
            pace = f", {speed:,.0f} examples/s" if speed else ""
            shown.epoch(epoch, training.epochs, f"validation ELBO {means[ELBO]:.2f} nats{pace}")
            try:
                report.tell_watch(epoch)
            except WatchStoppedError:
                if not late:
                    keep()
                raise
            (ends,) = all_reduce_max(bool(interruption))
            if not late and (ends or _is_over(state, total, training.early_stopping)):
                keep()  # before the model is saved; if time is up, the last checkpoint is from within the epoch
        if ends:
            keeper.flush()
            logger.info("interrupted after step %d of %d; %s", state.step, total, keeper.kept())
    if ends:  # the signal did not end this process, or another machine was interrupted
        raise WorkError(f"training was interrupted after step {state.step} of {total}; {keeper.kept()}")
    logger.info(
        "trained %s; best validation ELBO %.2f nats, in epoch %d",
        counted(state.epoch, "epoch"),
        state.best.elbo,
        state.best.epoch,
    )
    if training.early_stopping:
        assign(variables(engine.validated), state.best.weights)
    else:
        engine.refresh()
    return Trained(engine.validated, state.curves, state.best.epoch, state.epoch, out_of_time=bool(late))


def _initial_state(keeper: Keeper, engine: Engine, total: int) -> State:
    """Returns the state to start or resume from, and sets model and optimizers to it."""
    all_reduce_max(0)  # a barrier: no process reads before the chief has moved the old files
    state = keeper.latest()
    at_the_same_step(state.step if state else 0)
    if state is None:
        return State(engine.values())
    logger.info("going on after step %d of %d", state.step, total)
    engine.assign(state.variables)
    return state


def _is_over(state: State, total: int, stopping: EarlyStopping | None) -> bool:
    """Whether the training is complete: all steps are done and validated, or early stopping has run out of patience."""
    if state.sums.steps:
        return False  # in the middle of an epoch
    return state.step >= total or (stopping is not None and state.epoch - state.best.epoch >= stopping.patience)


def _warn_of_endless_warmup(training: TrainingConfig, total: int) -> None:
    if training.learning_rate.warmup_steps >= total:
        logger.warning(
            "training.learning_rate.warmup_steps is %d, and the whole training has %s: the learning rate never "
            "reaches its initial value",
            training.learning_rate.warmup_steps,
            counted(total, "step"),
        )
