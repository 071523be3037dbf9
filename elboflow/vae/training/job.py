"""What is to be trained: all that the processes which train one model together have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elboflow.vae.config import ModelConfig, TrainingConfig
from elboflow.vae.data import Examples, ImageSpec, Source
from elboflow.vae.training.profile import Profile


@dataclass(frozen=True)
class Job:
    """One training, as each of its processes does it.

    Attributes:
        source: The examples to learn from.
        validation: The examples that decide which epoch is the best, and when to stop.
        spec: What the images are.
        model: The model's settings.
        training: The training's settings.
        seed: Fixes initial weights, order and noise.
        checkpoints: The folder of the checkpoints; where there is one, training goes on from it.
        identity: What this training is a function of, as JSON values; a checkpoint of another identity is refused.
        restart: Whether to start over instead. The old checkpoints are moved aside.
        profile: How many steps are to be profiled, if any, and where that is written.
    """

    source: Source
    validation: Examples
    spec: ImageSpec
    model: ModelConfig
    training: TrainingConfig
    seed: int
    checkpoints: Path
    identity: dict[str, Any]
    restart: bool = False
    profile: Profile | None = None
