"""The state of a training after a step: all data to resume the training as if it had never stopped.

Noise is a function of (seed, step), and the order of (seed, epoch). So the step number is enough: the state of random
generators and the position of readers need not be saved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import keras
import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from elboflow.vae.compute import implementation
from elboflow.vae.compute.contract import Measures
from elboflow.vae.compute.training_step import SKIPPED
from elboflow.vae.config import EarlyStopping
from elboflow.vae.curves import Curves
from elboflow.vae.model import Model, variables


@dataclass
class Sums:
    """The sums of the measures over the steps of the current epoch, without skipped steps.

    The sums are computed sequentially in float64, so that the result depends neither on the number of steps per
    compiled call nor on interruptions.

    Attributes:
        steps: The number of steps of the epoch so far, skipped steps included.
        skipped: The number of skipped steps.
        totals: The sum of each measure, by name.
    """

    steps: int = 0
    skipped: int = 0
    totals: dict[str, float] = field(default_factory=dict)

    def add(self, measures: Measures, prefixes: Sequence[str]) -> None:
        """Adds the measures of consecutive steps.

        Args:
            measures: Of each step.
            prefixes: What precedes the names of each player's measures.
        """
        flags = {prefix + SKIPPED for prefix in prefixes}
        skipped = np.any([measures[name] != 0 for name in flags], axis=0)
        for name, values in measures.items():
            if name not in flags:
                begun = np.concatenate([[self.totals.get(name, 0.0)], values[~skipped]])
                self.totals[name] = float(np.add.accumulate(begun, dtype=np.float64)[-1])
        self.steps += len(skipped)
        self.skipped += int(skipped.sum())

    def means(self) -> dict[str, float]:
        """Returns the mean of each measure over the steps that were not skipped; NaN if all were skipped."""
        counted = self.steps - self.skipped
        return {name: total / counted if counted else float("nan") for name, total in self.totals.items()}


@dataclass
class Best:
    """The epoch of the best validation ELBO.

    Attributes:
        epoch: The epoch, from 1; 0 before the first validation.
        elbo: The validation ELBO, in nats per example.
        weights: The variables of the model after that epoch, for early stopping; empty without early stopping.
    """

    epoch: int = 0
    elbo: float = -float("inf")
    weights: list[np.ndarray] = field(default_factory=list)


@dataclass
class State:
    """A training after a step, anywhere in an epoch.

    Attributes:
        variables: The values of all variables of the model and of the optimizers, which include EMA weights and the
            float16 loss scale. The arrays must not be changed later.
        step: The number of completed steps.
        epoch: The number of completed epochs, validation included.
        best: The epoch of the best validation ELBO.
        curves: The curves so far.
        sums: The sums of the measures of the current epoch.
        skipped: The number of steps skipped so far because they were not finite
            (`elboflow.vae.training.non_finite`).
        seconds: The time spent training, over all resumptions.
    """

    variables: list[np.ndarray] = field(default_factory=list)
    step: int = 0
    epoch: int = 0
    best: Best = field(default_factory=Best)
    curves: Curves = field(default_factory=Curves)
    sums: Sums = field(default_factory=Sums)
    skipped: int = 0
    seconds: float = 0.0

    def add(self, measures: Measures, prefixes: Sequence[str], skipped: int) -> None:
        """Adds consecutive steps with these measures, of which `skipped` were skipped."""
        before = self.sums.steps
        self.sums.add(measures, prefixes)
        self.step += self.sums.steps - before
        self.skipped += skipped

    def end_epoch(self, elbo: float, model: Model, stopping: EarlyStopping | None) -> None:
        """Ends the current epoch.

        Args:
            elbo: The validation ELBO, in nats per example.
            model: The validated model. With early stopping, the weights of the best epoch are copied.
            stopping: The settings of early stopping, if it is used.
        """
        self.epoch, self.sums = self.epoch + 1, Sums()
        if elbo > self.best.elbo + (stopping.minimum_change if stopping else 0.0):
            self.best = Best(self.epoch, elbo, values(variables(model)) if stopping else [])

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns all arrays by name, without copying them."""
        groups = {"variables": self.variables, "best": self.best.weights}
        return {f"{group}/{i:05d}": array for group, arrays in groups.items() for i, array in enumerate(arrays)}

    def facts(self) -> dict[str, Any]:
        """Returns a copy of the state without the arrays, as JSON values."""
        return {
            "step": self.step,
            "epoch": self.epoch,
            "best": {"epoch": self.best.epoch, "elbo": self.best.elbo},
            "curves": self.curves.as_json(),
            "sums": asdict(self.sums),
            "skipped": self.skipped,
            "seconds": self.seconds,
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Returns the state from the results of `facts` and `arrays`."""
        groups = {
            group: [arrays[name] for name in sorted(arrays) if name.startswith(f"{group}/")]
            for group in ("variables", "best")
        }
        return cls(
            variables=groups["variables"],
            step=facts["step"],
            epoch=facts["epoch"],
            best=Best(**facts["best"], weights=groups["best"]),
            curves=Curves(**facts["curves"]),
            sums=Sums(**facts["sums"]),
            skipped=facts["skipped"],
            seconds=facts["seconds"],
        )


def values(wanted: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Copies variables to the host."""
    return implementation().values(wanted)


def assign(changed: Sequence[keras.Variable], arrays: Sequence[np.ndarray]) -> None:
    """Sets variables to the values that `values` returned.

    Raises:
        WorkError: The arrays belong to another model or optimizer, for instance from another version of the code.
    """
    found = [tuple(array.shape) for array in arrays]
    expected = [tuple(variable.shape) for variable in changed]
    if found != expected:
        raise WorkError(
            f"the checkpoint holds {counted(len(found), 'variable')} {_unlike(found, expected)}; this version of the "
            f"code trains {len(expected)} {_unlike(expected, found)}. --restart starts over and moves the checkpoints "
            "aside"
        )
    for variable, array in zip(changed, arrays, strict=True):
        variable.assign(array)


def _unlike(shapes: list[tuple[int, ...]], others: list[tuple[int, ...]]) -> str:
    place = next(
        (i for i, pair in enumerate(zip(shapes, others, strict=False)) if pair[0] != pair[1]),
        min(len(shapes), len(others)),
    )
    return f"(number {place} of shape {list(shapes[place])})" if place < len(shapes) else "(and no more)"
