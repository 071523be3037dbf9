"""Processes that train together do the same at the same step; what only one of them knows is told to all."""

import numpy as np

from elboflow.settings import WorkError
from elboflow.vae.compute import implementation


def agreed(*numbers: float) -> list[float]:
    """Returns the largest of each number over all processes, which all call this at the same point."""
    return implementation().agreed(np.array(numbers, np.float64)).tolist()


def at_the_same_step(step: int) -> None:
    """Looks whether all processes begin at the same step.

    Raises:
        WorkError: They do not, because they do not see the same checkpoints.
    """
    last, first = agreed(step, -step)
    if (last, first) != (step, -step):
        raise WorkError(
            f"this machine would begin at step {step}, and the machines together at steps {-first:.0f} to {last:.0f}: "
            "they do not see the same checkpoints. Let the output folder or training.checkpoints.folder be one that "
            "all of them share"
        )
