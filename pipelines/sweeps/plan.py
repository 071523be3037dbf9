"""What a sweep is to try, on any target."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.binding.recorded import experiment_digest
from elboflow.settings.digest import digest
from pipelines.experiment import Experiment
from pipelines.sweeps.axes import Axis

SAMPLERS = ("tpe", "random")
"""What a search may be told to use, besides the `grid` of all combinations."""


@dataclass(frozen=True)
class Search:
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
    search: Search

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
        return f"{self.experiment.name}-{digest(decides)[:10]}"

    @property
    def backends(self) -> set[str]:
        """The frameworks that trials may run on."""
        given = [value for axis in self.axes if axis.key == "training.backend" for value in axis.values]
        return set(given) or {self.experiment.training.backend}
