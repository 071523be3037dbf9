"""What becomes of a training whose loss or gradient is NaN or infinite."""

from collections.abc import Callable

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from elboflow.vae.config import Skip, TrainingConfig
from elboflow.vae.training.state import Sums
from elboflow.vae.training.step import MEASURES

# The loss and its gradient are made of the terms: a bad term is the cause, a bad loss its effect.
_CAUSES = ("reconstruction", "kl", "loss", "gradient_norm")
_LOSS = [MEASURES.index(name) for name in ("reconstruction", "kl", "loss")]
_REMEDY = "A lower training.learning_rate or training.gradient_clip may help"


class Tolerance:
    """Says which steps may be NaN or infinite: none, a number of them, or those of which float16 makes no use.

    In float16 a gradient that overflows while the loss is finite is how the scale of the loss is found: such a step is
    skipped by the optimizer, and no fault of the training.

    Args:
        training: How it is trained.
        kept: Says what a training that ends now leaves behind.
    """

    def __init__(self, training: TrainingConfig, kept: Callable[[], str]) -> None:
        self._policy, self._finds_scale = training.non_finite, training.precision == "float16"
        self._kept = kept

    def faults(self, measures: np.ndarray, step: int, epoch: int, before: int) -> int:
        """Returns how many of these steps were skipped because they were not finite.

        Args:
            measures: Of each step, `[steps, len(MEASURES)]`.
            step: The number of the first of them, from 0.
            epoch: Where it is, from 1.
            before: Steps skipped so far.

        Raises:
            WorkError: They are more than the settings allow.
        """
        finite = np.isfinite(measures)
        bad = ~(finite[:, _LOSS] if self._finds_scale else finite).all(axis=1)
        limit = self._policy.limit if isinstance(self._policy, Skip) else 0
        count = int(bad.sum())
        if before + count <= limit:
            return count
        row = int(np.flatnonzero(bad)[limit - before])
        term = next(name for name in _CAUSES if not finite[row, MEASURES.index(name)])
        where = f"step {step + row} of epoch {epoch}: the {term.replace('_', ' ')}"
        if isinstance(self._policy, Skip):
            where += f", after {counted(limit, 'step')} skipped as training.non_finite.limit allows,"
        raise self._broken(where, float(measures[row, MEASURES.index(term)]))

    def check_validation(self, reconstruction: float, kl: float, step: int, epoch: int) -> None:
        """Looks at the terms of the validation bound: a last step may break weights, or this split show it first.

        Raises:
            WorkError: One is not finite.
        """
        for name, value in (("reconstruction", reconstruction), ("kl", kl)):
            if not np.isfinite(value):
                raise self._broken(f"validation after step {step - 1} of epoch {epoch}: its {name}", value)

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
