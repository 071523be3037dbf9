"""Trials on this machine: Optuna says which values to try next, and which trials to give up. The study is kept on disk.

Optuna's SQLite storage holds JSON, and no pickles.
"""

import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.surroundings.code_version import code_version
from components.sweep import recorded_trial
from components.sweep.history import Sweep
from components.sweep.trial import Candidate, Outcome
from components.tracking import databases
from elboflow.settings import WorkError
from pipelines.experiment import Experiment
from pipelines.sweeps.axes import Axis, Range, grid, parse
from pipelines.sweeps.candidates import SearchSettings, candidate
from preprocessing.reader import open_dataset

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

logger = logging.getLogger("elboflow.sweep")

UNPRUNED = 5
"""Trials that end by themselves before the first is given up: Optuna's own number."""
_DIGEST, _FORGOTTEN = "digest", "forgotten"


@dataclass(frozen=True)
class Settings:
    """How to search here: `parallel` trials at once, in the study that a SQLite file keeps."""

    search: SearchSettings
    parallel: int
    study: str


def search(
    dataset: Path | str,
    experiment: Mapping[str, Any],
    over: Mapping[str, str],
    settings: Settings,
    output: Path,
    tracked: Sweep,
) -> None:
    """Searches for the values of the best validation bound. Killed and called again, it goes on where it was.

    The output has a folder for each trial, named by its digest; `experiment` is as `Experiment.recorded()` gives it.
    """
    wanted = Experiment.model_validate(experiment)
    axes = parse([f"{key}={text}" for key, text in over.items()], wanted)
    data = open_dataset(dataset).manifest.digest
    study = _study(settings, f"{data} {_code(tracked.run)}", wanted)
    killed = _end_running(study)
    _take_over(study, experiment, axes, output, tracked)
    for values in _missing(study, axes) if settings.search.sampler == "grid" else killed:
        study.enqueue_trial(values)
    work = _Search(study, axes, experiment, settings, dataset, output, tracked)
    with ThreadPoolExecutor(settings.parallel) as threads:
        for worker in [threads.submit(work.run) for _ in range(settings.parallel)]:
            worker.result()


class _Search:
    """What several threads do at once: ask the study, try, and tell the study."""

    def __init__(
        self,
        study: "optuna.Study",
        axes: Sequence[Axis],
        experiment: Mapping[str, Any],
        settings: Settings,
        dataset: Path | str,
        output: Path,
        tracked: Sweep,
    ) -> None:
        self._study, self._axes, self._experiment, self._settings = study, axes, experiment, settings
        self._dataset, self._output, self._tracked = dataset, output, tracked
        self._lock, self._trying = threading.Lock(), dict[str, threading.Lock]()
        self._ended = len(_done(study))
        self._left = settings.search.trials - self._ended

    def run(self) -> None:
        """Tries until there are trials enough, or something else than a training fails."""
        try:
            for asked, new in self._asked():
                with self._lock:
                    alone = self._trying.setdefault(new.digest, threading.Lock())
                with alone:  # a study may ask for the same values twice
                    outcome = self._try(asked, new)
                with self._lock:
                    self._ended += 1
                    logger.info("[%d/%d] %s: %s", self._ended, self._settings.search.trials, new, outcome)
        except BaseException:
            self._left = 0  # the other threads begin nothing more
            raise

    def _asked(self) -> Iterator[tuple["optuna.Trial", Candidate]]:
        while True:
            with self._lock:
                if self._left <= 0:
                    return
                self._left -= 1
                asked = self._study.ask()
                new = _candidate(self._experiment, asked, self._axes)
                asked.set_user_attr(_DIGEST, new.digest)
            yield asked, new

    def _try(self, asked: "optuna.Trial", new: Candidate) -> Outcome:
        from optuna.trial import TrialState

        told = 0

        def watch(epoch: int, elbo: float) -> bool:
            nonlocal told
            asked.report(elbo, epoch)
            told = epoch
            return not (self._settings.search.prune and asked.should_prune())

        outcome = recorded_trial.attempt(self._dataset, new, self._output / new.digest, self._tracked, watch)
        for epoch, elbo in enumerate(outcome.elbo[told:], told + 1):  # of a trial that was kept
            asked.report(elbo, epoch)
        match outcome.status:
            case "finished":
                self._study.tell(asked, outcome.bound)
            case "pruned":
                self._study.tell(asked, state=TrialState.PRUNED)
            case "failed":
                self._study.tell(asked, state=TrialState.FAIL)
        return outcome


def _study(settings: Settings, name: str, experiment: Experiment) -> "optuna.Study":
    import optuna
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place = databases.uri_of(Path(settings.study))
    try:
        storage = optuna.storages.RDBStorage(place, engine_kwargs={"connect_args": {"timeout": 60}})
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
    except (SQLAlchemyError, OptunaError) as error:
        reason = str(error).partition("\n")[0]
        raise WorkError(
            f"{settings.study} cannot be used: {reason}; if it is damaged, remove it: the search begins anew, and "
            "takes over the trials that it comes upon again"
        ) from None
    # A study that goes on draws other numbers than those that it began with.
    seed = experiment.seed + len(study.trials)
    # A grid is a queue of trials, in which nothing is left to sample. Optuna's GridSampler cannot be asked outside of
    # `optimize`, and loses its place where a trial is tried again.
    tpe = settings.search.sampler == "tpe"
    study.sampler = (optuna.samplers.TPESampler if tpe else optuna.samplers.RandomSampler)(seed=seed)
    # The first tenth of a training says little, least of all while the learning rate warms up.
    first = experiment.training.epochs // 10 + 1
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=first)
    return study


def _code(run: str) -> str:
    """Returns the version of the code: results of another are no part of this study."""
    code = code_version()
    return f"{code} {run}" if code.endswith("-dirty") else code


def _candidate(experiment: Mapping[str, Any], asked: "optuna.Trial | FrozenTrial", axes: Sequence[Axis]) -> Candidate:
    """Returns what the study asks for, or asked for then."""
    return candidate(experiment, {axis.key: _suggested(asked, axis) for axis in axes})


def _suggested(asked: "optuna.Trial | FrozenTrial", axis: Axis) -> Any:
    if not isinstance(axis, Range):
        # As JSON, because Optuna's choices may be no lists.
        return json.loads(asked.suggest_categorical(axis.key, [json.dumps(value) for value in axis.values]))
    if axis.whole:
        return asked.suggest_int(axis.key, int(axis.low), int(axis.high), log=axis.log)
    return asked.suggest_float(axis.key, axis.low, axis.high, log=axis.log)


def _done(study: "optuna.Study") -> "list[FrozenTrial]":
    """Returns the trials that ended by themselves."""
    forgotten = study.user_attrs.get(_FORGOTTEN, [])
    return [found for found in study.trials if found.state.is_finished() and found.number not in forgotten]


def _forget(study: "optuna.Study", found: "FrozenTrial") -> None:
    study.set_user_attr(_FORGOTTEN, [*study.user_attrs.get(_FORGOTTEN, []), found.number])


def _end_running(study: "optuna.Study") -> list[dict[str, Any]]:
    """Ends the trials that a killed search was at work on, and returns their values.

    Tried again, their trainings go on from their checkpoints.
    """
    from optuna.trial import TrialState

    killed = study.get_trials(states=[TrialState.RUNNING])
    for found in killed:
        _forget(study, found)
        study.tell(found.number, state=TrialState.FAIL)
    return [found.params for found in killed]


def _missing(study: "optuna.Study", axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Returns the combinations of a grid that are to be tried: those that failed are tried again."""
    from optuna.trial import TrialState

    for found in _done(study):
        if found.state == TrialState.FAIL:
            _forget(study, found)
    known = [found.params for found in _done(study)]
    known += [found.system_attrs["fixed_params"] for found in study.get_trials(states=[TrialState.WAITING])]
    combinations = [{key: json.dumps(value) for key, value in values.items()} for values in grid(axes)]
    return [values for values in combinations if values not in known]


def _take_over(
    study: "optuna.Study", experiment: Mapping[str, Any], axes: Sequence[Axis], output: Path, tracked: Sweep
) -> None:
    """Takes the trials of an earlier run, of which this one wants more, into this run."""
    for found in _done(study):
        try:
            recorded_trial.take_over(_candidate(experiment, found, axes), output / found.user_attrs[_DIGEST], tracked)
        except WorkError as error:
            logger.warning("trial %d counts no more: %s", found.number, error)
            _forget(study, found)
