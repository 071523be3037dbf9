"""The training loop."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from elboflow.vae.compute import implementation
from elboflow.vae.compute.cluster import Cluster
from elboflow.vae.compute.contract import Job, Measures
from elboflow.vae.model import Model, variables
from elboflow.vae.terms import ELBO
from elboflow.vae.trained import Trained
from elboflow.vae.training.checkpoints import Keeper
from elboflow.vae.training.engine import Engine
from elboflow.vae.training.feed import Feed
from elboflow.vae.training.interruption import Interruption, deferred
from elboflow.vae.training.lockstep import all_reduce_max, at_the_same_step
from elboflow.vae.training.non_finite import NonFinitePolicy
from elboflow.vae.training.profile import Profiler
from elboflow.vae.training.progress import Display, display
from elboflow.vae.training.report import Report
from elboflow.vae.training.schedule import warn_of_endless_warmup
from elboflow.vae.training.state import State, assign, values
from elboflow.vae.training.validation import validator
from elboflow.vae.watch import Observer, Watch, WatchStoppedError

logger = logging.getLogger("elboflow.training")

_WORKER = "elboflow.vae.training.torch_worker"
"""The module of a worker process, for backends with one process per device."""


Viewer = Callable[[int, Model], None]
"""Called after each epoch with its number and the validated model."""


def train(
    job: Job,
    *,
    cluster: Cluster | None = None,
    watch: Watch | None = None,
    observers: Sequence[Observer] = (),
    viewer: Viewer | None = None,
) -> Trained:
    """Trains a model. The same job on the same kind of device gives the same weights, also after interruptions.

    Args:
        job: The training.
        cluster: The machines of a distributed training; None for a single machine.
        watch: A callback that gets the validation ELBO of every epoch, and can stop the training.
        observers: Callbacks that get the curves after every epoch.
        viewer: A callback that may compute with the model after every epoch. Without effect where several processes
            train, or weights are sharded: a computation of one process would wait for the others.

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
        viewer = viewer if processes is None and job.training.parallel is None else None
        with _begun(job, processes, watch, observers, viewer) as training:
            while not training.is_over:
                started, first = time.monotonic(), training.state.step
                for measures in training.engine.run(training.state):
                    training.add(measures)
                    if training.stops:
                        break
                if not training.is_interrupted:
                    training.end_epoch(training.state.step - first, time.monotonic() - started)
        trained = training.result()
    if job.training.parallel is None:
        return trained
    whole = job.model.build(job.specs, job.seed)  # the weights of the trained model may be sharded
    assign(variables(whole), values(variables(trained.model)))
    return replace(trained, model=whole)


@contextmanager
def _begun(
    job: Job, cluster: Cluster | None, watch: Watch | None, observers: Sequence[Observer], viewer: Viewer | None
) -> "Iterator[_Training]":
    """Yields the training of this process, one of a cluster's, at its start or at its last checkpoint."""
    training, fingerprint = job.training, job.fingerprint
    index, processes = (cluster.index, cluster.processes) if cluster else (0, 1)
    feed = Feed(job, index, processes)
    if feed.is_streamed:
        fingerprint = fingerprint | {"machines": processes}  # the streaming order depends on their number
    total = min(training.epochs * feed.steps, training.max_steps or training.epochs * feed.steps)
    warn_of_endless_warmup(training.learning_rate, total)
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
        report = Report(state, watch, observers)
        report.tell_watch(1)
        begun = _Training(job, total, engine, state, keeper, interruption, shown, report, viewer)
        yield begun
        if begun.is_interrupted:
            keeper.flush()
            logger.info("interrupted after step %d of %d; %s", state.step, total, keeper.kept())


@dataclass
class _Training:
    """A training in this process: its state, and everything that acts on it.

    Attributes:
        is_interrupted: Whether a signal ended it, here or on another machine.
        is_late: Whether `max_minutes` ended it.
    """

    job: Job
    total: int
    engine: Engine
    state: State
    keeper: Keeper
    interruption: Interruption
    shown: Display
    report: Report
    viewer: Viewer | None
    is_interrupted: bool = False
    is_late: bool = False

    def __post_init__(self) -> None:
        training, engine = self.job.training, self.engine
        self._validate = validator(engine.validated, self.job.validation, self.job.seed, training.memory_megabytes)
        self._tolerance = NonFinitePolicy(training, self.keeper.kept, engine.prefixes)
        self._begun = time.monotonic() - self.state.seconds
        self._seconds_allowed = 60 * training.max_minutes if training.max_minutes else math.inf

    @property
    def stops(self) -> bool:
        """Whether it ends before its time."""
        return self.is_interrupted or self.is_late

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or all steps are done and validated, or early stopping has run out of patience."""
        state, stopping = self.state, self.job.training.early_stopping
        if self.stops or state.sums.steps:  # in the middle of an epoch
            return self.stops
        return state.step >= self.total or (
            stopping is not None and state.epoch - state.best.epoch >= stopping.patience
        )

    def add(self, measures: Measures) -> None:
        """Adds the steps of a compiled call, and saves the state where that is due or the training stops."""
        state = self.state
        faults = self._tolerance.faults(measures, state.step, state.epoch + 1, state.skipped)
        state.add(measures, self.engine.prefixes, faults)
        self.shown.steps(state.step)
        is_late = time.monotonic() - self._begun >= self._seconds_allowed
        flags = all_reduce_max(bool(self.interruption), is_late, self.keeper.due(state.step))
        self.is_interrupted, self.is_late, is_due = map(bool, flags)
        if is_due or self.stops:
            self._keep()

    def end_epoch(self, steps: int, seconds: float) -> None:
        """Validates and reports an epoch, of which this process has made so many steps in so many seconds."""
        state, training, epoch = self.state, self.job.training, self.state.epoch + 1
        self._tolerance.check_epoch(state.sums, epoch)
        speed = steps * training.batch_size / seconds
        self.report.add_steps(self.engine.learning_rate, speed, training.batch_size)
        self.engine.refresh()
        means = self._validate()
        self._tolerance.check_validation(means, state.step, epoch)
        self.report.add("validation", **means)
        state.end_epoch(means[ELBO], self.engine.validated, training.early_stopping)
        pace = f", {speed:,.0f} examples/s" if speed else ""
        self.shown.epoch(epoch, training.epochs, f"validation ELBO {means[ELBO]:.2f} nats{pace}")
        if self.viewer is not None:
            self.viewer(epoch, self.engine.validated)
        try:
            self.report.tell_watch(epoch)
        except WatchStoppedError:
            if not self.is_late:
                self._keep()
            raise
        self.is_interrupted = bool(all_reduce_max(bool(self.interruption))[0])
        if not self.is_late and self.is_over:
            self._keep()  # before the model is saved; if time is up, the last checkpoint is from within the epoch

    def result(self) -> Trained:
        """Returns the trained model, whose weights may be sharded over devices, and its curves."""
        state, engine = self.state, self.engine
        if self.is_interrupted:  # on another machine, or the signal did not end this process
            raise WorkError(f"training was interrupted after step {state.step} of {self.total}; {self.keeper.kept()}")
        logger.info(
            "trained %s; best validation ELBO %.2f nats, in epoch %d",
            counted(state.epoch, "epoch"),
            state.best.elbo,
            state.best.epoch,
        )
        if self.job.training.early_stopping:
            assign(variables(engine.validated), state.best.weights)
        else:
            engine.refresh()
        return Trained(engine.validated, state.curves, state.best.epoch, state.epoch, out_of_time=self.is_late)

    def _keep(self) -> None:
        self.state.variables, self.state.seconds = self.engine.values(), time.monotonic() - self._begun
        self.keeper.keep(self.state)


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
