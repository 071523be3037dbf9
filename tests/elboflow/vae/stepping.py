"""The compiled steps of a training, without the loop around them: for tests that look at weights after so many."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from elboflow.vae.compute import implementation
from elboflow.vae.compute.contract import Measures
from elboflow.vae.compute.training_step import TrainingStep, Turn
from elboflow.vae.config import Skip, TrainingConfig
from elboflow.vae.data import Examples
from elboflow.vae.model import Model, ModelConfig
from elboflow.vae.terms import Specs
from elboflow.vae.training.optimizers import optimizer
from elboflow.vae.training.schedule import rate

CAPACITY = 32


@dataclass(frozen=True)
class Stepping:
    """A model, the optimizer of its first player, and `run(first step, count)`: the measures of steps on all examples.

    `turns` are what its players do, and `step` is what they do together.
    """

    model: Model
    optimizer: Any
    run: Callable[[int, int], Measures]
    step: TrainingStep


def stepping(config: ModelConfig, training: TrainingConfig, examples: Examples, specs: Specs) -> Stepping:
    """Returns the steps of a training whose batches are always these examples, in this order."""
    precision = training.precision
    model = config.build(specs, 0, "float32" if precision == "float32" else f"mixed_{precision}")
    turns = tuple(Turn(player, optimizer(training), player.name and f"{player.name}_") for player in model.players)
    step = TrainingStep(
        model,
        turns,
        rate(training.learning_rate, 1, 100),
        len(examples),
        training.micro_batches,
        training.gradient_clip_value,
        skips_non_finite=isinstance(training.non_finite, Skip) or precision == "float16",
    )
    steps = implementation().training(step, 0)
    on_device = steps.to_device(examples.padded(specs), len(examples))
    rows = np.tile(np.arange(len(examples), dtype=np.int32), (CAPACITY, 1))
    return Stepping(model, turns[0].optimizer, lambda first, count: steps(on_device, rows, first, count, 1.0), step)
