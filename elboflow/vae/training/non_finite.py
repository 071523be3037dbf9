"""The policy for steps whose loss or gradient is NaN or infinite."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from elboflow.vae.compute.contract import Measures
from elboflow.vae.compute.training_step import GRADIENT_NORM, LOSS
from elboflow.vae.config import Skip, TrainingConfig
from elboflow.vae.terms import ELBO, RECONSTRUCTION
from elboflow.vae.training.state import Sums

_REMEDY = "A lower training.learning_rate or training.gradient_clip may help"


class NonFinitePolicy:
    """Decides how many non-finite steps a training may have.

    With float16, gradients that overflow while the loss is finite are a normal part of the search for the loss scale.
    The optimizer skips such steps, and they do not count.

    Args:
        training: The settings of the training.
        kept: Returns a phrase about the last checkpoint, for messages.
        prefixes: The prefix of each player's measures.
    """

    def __init__(self, training: TrainingConfig, kept: Callable[[], str], prefixes: Sequence[str]) -> None:
        self._policy, self._finds_scale = training.non_finite, training.precision == "float16"
        self._kept, self._prefixes = kept, prefixes

    def faults(self, measures: Measures, step: int, epoch: int, before: int) -> int:
        """Returns the number of steps that were skipped because they were not finite.

        Args:
            measures: The measures of consecutive steps.
            step: The number of the first of these steps, from 0.
            epoch: The epoch of these steps, from 1.
            before: The number of steps skipped before.

        Raises:
            WorkError: More steps are non-finite than the settings allow.
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
        """Checks the measures of a validation. The last step can break the weights, or only this split may show it.

        Raises:
            WorkError: A measure is not finite.
        """
        for name in _causes(means, [""]):
            if not np.isfinite(means[name]):
                raise self._broken(f"validation after step {step - 1} of epoch {epoch}: its {name}", means[name])

    def check_epoch(self, sums: Sums, epoch: int) -> None:
        """Checks that an epoch had at least one step that was not skipped.

        Raises:
            WorkError: All steps were skipped, so the training makes no progress.
        """
        if sums.skipped == sums.steps:
            raise WorkError(
                f"training stopped: in none of the {counted(sums.steps, 'step')} of epoch {epoch} were loss and "
                f"gradient finite; {self._kept()}. {_REMEDY}"
            )

    def _broken(self, where: str, value: float) -> WorkError:
        return WorkError(f"training stopped at {where} became {value}; {self._kept()}. {_REMEDY}")


def _causes(measures: Mapping[str, Any], prefixes: Sequence[str]) -> list[str]:
    """Returns the names of measures, causes before effects: terms, then the bound, the loss, and the gradient norm."""
    effects = {prefix + name: place for prefix in prefixes for place, name in enumerate((ELBO, LOSS, GRADIENT_NORM), 1)}
    first = {prefix + RECONSTRUCTION for prefix in prefixes}

    def rank(name: str) -> tuple[int, bool, str]:
        return effects.get(name, 0), name not in first, name

    return sorted(measures, key=rank)
