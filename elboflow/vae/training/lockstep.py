"""Agreement of the processes of a distributed training: flags are combined by an all-reduce (max)."""

import numpy as np

from elboflow.settings import WorkError
from elboflow.vae.compute import implementation


def all_reduce_max(*numbers: float) -> list[float]:
    """All-reduce (max) of numbers over all processes. All processes must call it at the same point."""
    return implementation().all_reduce_max(np.array(numbers, np.float64)).tolist()


def at_the_same_step(step: int) -> None:
    """Checks that all processes start at the same step.

    Raises:
        WorkError: The steps differ, because the processes do not see the same checkpoints.
    """
    last, first = all_reduce_max(step, -step)
    if (last, first) != (step, -step):
        raise WorkError(
            f"this machine would begin at step {step}, and the machines together at steps {-first:.0f} to {last:.0f}: "
            "they do not see the same checkpoints. Let the output folder or training.checkpoints.folder be one that "
            "all of them share"
        )
