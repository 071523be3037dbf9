"""What becomes of a training whose loss or gradient is NaN or infinite."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from elboflow.vae.compute.contract import GRADIENT_NORM, LOSS, Measures
from elboflow.vae.config import Skip, TrainingConfig
from elboflow.vae.terms import ELBO, RECONSTRUCTION
from elboflow.vae.training.state import Sums

_REMEDY = "A lower training.learning_rate or training.gradient_clip may help"


class Tolerance:
    """Says which steps may be NaN or infinite: none, a number of them, or those of which float16 makes no use.

    In float16 a gradient that overflows while the loss is finite is how the scale of the loss is found: such a step is
    skipped by the optimizer, and no fault of the training.

    Args:
        training: How it is trained.
        kept: Says what a training that ends now leaves behind.
        prefixes: What precedes the names of each player's measures.
    """

    def __init__(self, training: TrainingConfig, kept: Callable[[], str], prefixes: Sequence[str]) -> None:
        self._policy, self._finds_scale = training.non_finite, training.precision == "float16"
        self._kept, self._prefixes = kept, prefixes

    def faults(self, measures: Measures, step: int, epoch: int, before: int) -> int:
        """Returns how many of these steps were skipped because they were not finite.

        Args:
            measures: Of each step.
            step: The number of the first of them, from 0.
            epoch: Where it is, from 1.
            before: Steps skipped so far.

        Raises:
            WorkError: They are more than the settings allow.
        """
        causes = _causes(measures, self._prefixes)
        found_by = {prefix + GRADIENT_NORM for prefix in self._prefixes} if self._finds_scale else set()
        watched = [name for name in causes if name not in found_by]
        bad = ~np.all([np.isfinite(measures[name]) for name in watched], axis=0)
        limit = self._policy.limit if isinstance(self._policy, Skip) else 0
        count = int(bad.sum())
        if before + count <= limit:
            return count
        row = int(np.flatnonzero(bad)[limit - before])
        term = next(name for name in causes if not np.isfinite(measures[name][row]))
        where = f"step {step + row} of epoch {epoch}: the {term.replace('_', ' ')}"
        if isinstance(self._policy, Skip):
            where += f", after {counted(limit, 'step')} skipped as training.non_finite.limit allows,"
        raise self._broken(where, float(measures[term][row]))

    def check_validation(self, means: Mapping[str, float], step: int, epoch: int) -> None:
        """Looks at the measures of the validation: a last step may break weights, or this split show it first.

        Raises:
            WorkError: One is not finite.
        """
        for name in _causes(means, [""]):
            if not np.isfinite(means[name]):
                raise self._broken(f"validation after step {step - 1} of epoch {epoch}: its {name}", means[name])

    def check_epoch(self, sums: Sums, epoch: int) -> None:
        """Looks whether an epoch had any step that was not skipped.

        Raises:
            WorkError: It had none: the training stands still.
        """
        if sums.skipped == sums.steps:
            raise WorkError(
                f"training stopped: in none of the {counted(sums.steps, 'step')} of epoch {epoch} were loss and "
                f"gradient finite; {self._kept()}. {_REMEDY}"
            )

    def _broken(self, where: str, value: float) -> WorkError:
        return WorkError(f"training stopped at {where} became {value}; {self._kept()}. {_REMEDY}")


def _causes(measures: Mapping[str, Any], prefixes: Sequence[str]) -> list[str]:
    """Returns names of measures, causes before effects: the bound and the loss are made of terms, and then derived."""
    effects = {prefix + name: place for prefix in prefixes for place, name in enumerate((ELBO, LOSS, GRADIENT_NORM), 1)}
    first = {prefix + RECONSTRUCTION for prefix in prefixes}

    def rank(name: str) -> tuple[int, bool, str]:
        return effects.get(name, 0), name not in first, name

    return sorted(measures, key=rank)
