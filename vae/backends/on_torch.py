"""PyTorch: eager steps; noise comes from a generator that each step seeds with its own number."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch

from vae.backends import Steps
from vae.training.step import TrainingStep


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arrays: np.ndarray) -> Any:
        with torch.no_grad():
            result = function(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))
        return tuple(part.numpy() for part in result) if isinstance(result, tuple) else result.numpy()

    return call


def training(step: TrainingStep, optimizer: keras.optimizers.Optimizer, images: np.ndarray, seed: int) -> Steps:
    variables = step.model.trainable_variables
    optimizer.build(variables)
    held = torch.from_numpy(images)
    generator = torch.Generator()

    def one(rows: torch.Tensor, number: int) -> torch.Tensor:
        generator.manual_seed((seed << 32) + number)
        codes = held[rows]
        uniform = torch.rand(step.uniform_shape(codes), generator=generator)
        noise = torch.randn(step.noise_shape(codes), generator=generator)
        loss, terms = step.loss(codes, uniform, noise, number)
        gradients = torch.autograd.grad(loss, [variable.value for variable in variables])
        with torch.no_grad():
            gradients, norm = step.clipped(list(gradients))
            optimizer.apply(gradients, variables)
            return torch.stack([loss, *terms, norm])

    def call(indices: np.ndarray, first_step: int, count: int) -> np.ndarray:
        rows = torch.from_numpy(indices)
        return torch.stack([one(rows[i], first_step + i) for i in range(count)]).numpy()

    return call
