"""The compiled steps of a training, without the loop around them: for tests that look at weights after so many."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from elboflow.vae import objectives
from elboflow.vae.backends import implementation
from elboflow.vae.config import ModelConfig, Skip, TrainingConfig
from elboflow.vae.data import Examples, ImageSpec
from elboflow.vae.model import VAE
from elboflow.vae.training.optimizers import optimizer
from elboflow.vae.training.schedule import rate
from elboflow.vae.training.step import TrainingStep

CAPACITY = 32


@dataclass(frozen=True)
class Stepping:
    """A model, its optimizer, and `run(first step, count)`, which returns the measures of steps on all examples."""

    model: VAE
    optimizer: Any
    run: Callable[[int, int], np.ndarray]


def stepping(config: ModelConfig, training: TrainingConfig, examples: Examples, spec: ImageSpec) -> Stepping:
    """Returns the steps of a training whose batches are always these examples, in this order."""
    model, made = VAE(config, spec), optimizer(training)
    step = TrainingStep(
        model,
        objectives.objective(config.objective),
        made,
        rate(training.learning_rate, 1, 100),
        len(examples),
        training.micro_batches,
        training.gradient_clip_value,
        skips_non_finite=isinstance(training.non_finite, Skip) or training.precision == "float16",
        precision=training.precision,
    )
    steps = implementation().training(step, 0)
    held = steps.hold(examples, len(examples))
    rows = np.tile(np.arange(len(examples), dtype=np.int32), (CAPACITY, 1))
    return Stepping(model, made, lambda first, count: steps(held, rows, first, count, 1.0))
