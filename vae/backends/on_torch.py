"""PyTorch: eager steps; noise comes from a generator that each step seeds with its own number."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch

from vae.backends import Steps, filled
from vae.backends.cluster import Cluster
from vae.data import Examples
from vae.training.step import TrainingStep

Held = tuple[torch.Tensor, torch.Tensor]


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arrays: np.ndarray) -> Any:
        with torch.no_grad():
            result = function(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))
        return tuple(part.numpy() for part in result) if isinstance(result, tuple) else result.numpy()

    return call


def training(step: TrainingStep, seed: int) -> Steps:
    return _Steps(step, seed)


def memory() -> int | None:
    """Returns the bytes in use on the GPU; None where there is none."""
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else None


def agreed(numbers: np.ndarray) -> np.ndarray:
    """Returns the largest of each number over all processes."""
    return numbers


def values(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Copies variables to the host."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


@contextmanager
def together(arguments: dict[str, Any], cluster: Cluster | None) -> Iterator[Cluster | None]:
    """Yields the processes that train together, those that it starts itself for the devices of this machine among them.

    Args:
        arguments: Of `vae.training.train`, for such processes.
        cluster: The machines that train together, if they are several.
    """
    yield cluster


@contextmanager
def scope() -> Iterator[None]:
    """Surrounds the making of all that computes a training, and its work."""
    yield


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    """Writes a profile of what runs meanwhile."""
    with torch.profiler.profile() as profile:
        yield
    folder.mkdir(parents=True, exist_ok=True)
    profile.export_chrome_trace(str(folder / "trace.json"))


class _Steps:
    def __init__(self, step: TrainingStep, seed: int) -> None:
        self._step, self._optimizer, self._seed = step, step.optimizer, seed
        self._variables = step.model.trainable_variables
        self._optimizer.build(self._variables)
        self._generator = torch.Generator()

    def hold(self, examples: Examples, capacity: int) -> Held:
        images, weights = filled(examples, capacity)
        return torch.from_numpy(images), torch.from_numpy(weights)

    def __call__(self, held: Held, rows: np.ndarray, first_step: int, count: int, factor: float) -> np.ndarray:
        batches = torch.from_numpy(rows)
        return torch.stack([self._one(held, batches[i], first_step + i, factor) for i in range(count)]).numpy()

    def _one(self, held: Held, rows: torch.Tensor, number: int, factor: float) -> torch.Tensor:
        """Updates weights and optimizer by one step; returns its measures."""
        loss, terms, gradients = self._gradients((held[0][rows], held[1][rows], self._drawn(number)), number)
        with torch.no_grad():
            size = self._step.norm(gradients)
            finite = torch.isfinite(loss) & torch.isfinite(size)
            gradients = self._step.clipped(gradients, finite)
            skipped = self._step.skips_non_finite and not finite
            if not skipped or self._step.optimizer_skips:
                self._optimizer.learning_rate.assign(self._step.rate(number, factor))
                self._optimizer.apply(gradients, self._variables)
            return torch.stack([loss, *terms, size, torch.tensor(float(skipped))])

    def _gradients(self, batch: Any, number: int) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], list[torch.Tensor]]:
        """Returns loss, terms and gradients, each the mean over the micro-batches."""
        codes, weights, drawn = batch
        count = self._step.micro_batches
        values = [variable.value for variable in self._variables]
        sums: list[torch.Tensor] = []
        for part in range(count):
            cut = [tensor.chunk(count)[part] for tensor in (codes, weights, *drawn)]
            loss, terms = self._step.loss(cut[0], cut[1], tuple(cut[2:]), number)
            found = [
                loss.detach(),
                *(term.detach() for term in terms),
                *torch.autograd.grad(self._step.scaled(loss), values),
            ]
            sums = [one + other for one, other in zip(sums, found, strict=True)] if sums else found
        loss, *rest = (value / count for value in sums) if count > 1 else sums
        return loss, (rest[0], rest[1]), rest[2:]

    def _drawn(self, number: int) -> tuple[torch.Tensor, ...]:
        self._generator.manual_seed((self._seed << 32) + number)
        draw = {"uniform": torch.rand, "normal": torch.randn}
        return tuple(draw[d.kind](d.shape, generator=self._generator) for d in self._step.draws)
