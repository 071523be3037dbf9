"""What a sweep is to try, on any target: its plan, the candidates, checked before anything starts, and the best."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from components.binding.recorded import experiment_digest
from components.sweep.choose import choose as choose_best
from components.sweep.history import Sweep
from components.sweep.trial import Candidate
from elboflow.settings import RequestError
from elboflow.settings.digest import digest
from elboflow.settings.explain import explain
from pipelines.experiment import Experiment
from pipelines.experiment.overrides import override
from pipelines.sweeps.axes import Axis

SAMPLERS = ("tpe", "random")
"""What a search may be told to use, besides the `grid` of all combinations."""


@dataclass(frozen=True)
class SearchSettings:
    """How values are chosen.

    Attributes:
        sampler: grid (all combinations), tpe (Bergstra et al., 2011) or random; on Vertex AI, tpe stands for its own
            Bayesian optimisation.
        trials: Trials in all, pruned ones and failures included.
        prune: Whether a trial is given up whose bound is below the median of the others' at the same epoch.
    """

    sampler: str
    trials: int
    prune: bool


@dataclass(frozen=True)
class Plan:
    """What a sweep is to try.

    Attributes:
        parallel: Trials at work at once.
    """

    experiment: Experiment
    axes: Sequence[Axis]
    parallel: int
    search: SearchSettings

    @property
    def is_grid(self) -> bool:
        """Whether all combinations are tried."""
        return self.search.sampler == "grid"

    @property
    def over(self) -> dict[str, str]:
        """What varies, as it was asked for: by dotted key."""
        return {axis.key: axis.text for axis in self.axes}

    @property
    def name(self) -> str:
        """Names the sweep after all that its trials depend on: the same command goes on with the same sweep."""
        how = None if self.is_grid else [self.search.sampler, self.search.prune]
        decides = [experiment_digest(self.experiment.recorded()), self.over, how]
        decides += [self.experiment.date] if self.experiment.date is not None else []
        return f"{self.experiment.name}-{digest(decides)[:10]}"

    @property
    def backends(self) -> set[str]:
        """The frameworks that trials may run on."""
        given = [value for axis in self.axes if axis.key == "training.backend" for value in axis.values]
        return set(given) or {self.experiment.training.backend}


def candidate(experiment: Mapping[str, Any], values: Mapping[str, Any]) -> Candidate:
    """Returns an experiment, as `Experiment.recorded()` gives it, with values set by dotted key.

    Raises:
        RequestError: An experiment cannot have these values. The message lists everything that is wrong.
    """
    given = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    varied = dict(experiment)
    try:
        for assignment in given:
            varied, _ = override(varied, assignment, Experiment)
        return Candidate(dict(values), Experiment.model_validate(varied).recorded())
    except ValidationError as error:
        problems = [str(problem) for problem in explain(error, Experiment)]
    except RequestError as error:
        problems = [str(error).partition(": ")[2]]
    raise RequestError("\n".join(f"--over {' '.join(given)}: {problem}" for problem in problems))


def check(
    experiment: Mapping[str, Any], combinations: Iterable[Mapping[str, Any]], same_twice: bool = False
) -> list[Candidate]:
    """Returns a candidate for each combination of values, all checked; `same_twice` allows the same trial twice.

    Raises:
        RequestError: A combination cannot be, two of them are the same, or their bounds cannot be compared.
    """
    found: dict[str, Candidate] = {}
    for values in combinations:
        new = candidate(experiment, values)
        if new.digest in found and not same_twice:
            raise RequestError(f"--over: {found[new.digest]} and {new} are the same trial")
        found[new.digest] = new
    candidates = list(found.values())
    first, modelled = candidates[0], _modelled(candidates[0])
    for other in candidates[1:]:
        if (found_there := _modelled(other)) != modelled:
            raise RequestError(
                f"--over: the bounds of {first} and {other} cannot be compared: one is of {modelled}, the other of "
                f"{found_there}"
            )
    return candidates


def _modelled(candidate: Candidate) -> str:
    return Experiment.model_validate(candidate.experiment).outcome_space


class Chosen(NamedTuple):
    """The best candidate: its experiment, as JSON, and its seed."""

    experiment: str
    seed: int


def choose_best_trial(
    trials: Sequence[Path], experiment: str, over: str, run: str, tracking_uri: str, model: Path, comparison: Path
) -> Chosen:
    """Takes the best of the trials (`components.sweep.choose`); `experiment` and `over` are JSON.

    Raises:
        WorkError: No trial finished.
    """
    varied = json.loads(experiment)
    tracked = Sweep(varied, run, tracking_uri)
    best = choose_best(
        [Path(trial) for trial in trials], varied, json.loads(over), tracked, Path(model), Path(comparison)
    )
    chosen = candidate(varied, best.values)
    return Chosen(json.dumps(chosen.experiment), chosen.seed)


def mounted(root: str) -> Path:
    """Returns the folder of a root in a step: Vertex AI mounts buckets under `/gcs`."""
    return Path(root.replace("gs://", "/gcs/", 1))
