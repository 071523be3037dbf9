"""PyTorch: eager operations, recorded once; noise comes from a generator that each step seeds with its own number."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
import torch.distributed as distributed

from elboflow.vae.backends import Steps, filled
from elboflow.vae.backends.torch_devices import placement
from elboflow.vae.backends.torch_distributed import agreed, averaged, processes, together
from elboflow.vae.backends.torch_fast import Quickened, Repeated, norm
from elboflow.vae.data import Examples
from elboflow.vae.training.step import MEASURES, TrainingStep

__all__ = ["agreed", "compiled", "memory", "profiled", "scope", "together", "training", "values"]

Held = tuple[torch.Tensor, torch.Tensor]


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    device = model.variables[0].value.device

    def call(*arrays: np.ndarray) -> Any:
        with torch.no_grad():
            result = function(*(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays))
        return (
            tuple(part.numpy(force=True) for part in result) if isinstance(result, tuple) else result.numpy(force=True)
        )

    return call


def training(step: TrainingStep, seed: int) -> Steps:
    return _Steps(step, seed)


def memory() -> int | None:
    device = placement().device
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else None


def values(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


@contextmanager
def scope() -> Iterator[None]:
    yield  # Keras makes everything on the device of this process


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    with torch.profiler.profile() as profile:
        yield
    folder.mkdir(parents=True, exist_ok=True)
    profile.export_chrome_trace(str(folder / "trace.json"))


class _Steps:
    def __init__(self, step: TrainingStep, seed: int) -> None:
        self._step, self._optimizer, self._seed = step, step.optimizer, seed
        self._variables = step.model.trainable_variables
        self._optimizer.build(self._variables)
        self._quick = Quickened(self._optimizer)
        self._values = [variable.value for variable in self._variables]
        self._device = self._values[0].device
        self._generator = torch.Generator(self._device)
        self._found = Repeated(self._find)
        each = step.batch_size // processes()
        first = each * distributed.get_rank() if processes() > 1 else 0
        self._own = slice(first, first + each)  # of the whole batch, the part of this process

    def hold(self, examples: Examples, capacity: int) -> Held:
        images, weights = filled(examples, capacity)
        return torch.from_numpy(images).to(self._device), torch.from_numpy(weights).to(self._device)

    def __call__(self, held: Held, rows: np.ndarray, first_step: int, count: int, factor: float) -> np.ndarray:
        numbers = torch.arange(first_step, first_step + count, device=self._device)
        rates = self._step.rate(numbers, factor).tolist()
        batches = torch.from_numpy(rows[:count]).to(self._device)
        measures = torch.empty((count, len(MEASURES)), device=self._device)
        self._quick.begin()
        for i in range(count):
            measures[i] = self._one(held, batches[i], first_step + i, numbers[i], rates[i])
        return measures.numpy(force=True)

    def _one(
        self, held: Held, rows: torch.Tensor, number: int, number_there: torch.Tensor, rate: float
    ) -> torch.Tensor:
        """Updates weights and optimizer by one step; returns its measures."""
        found = self._gradients((held[0][rows], held[1][rows], *self._drawn(number)), number_there)
        with torch.no_grad():
            (loss, *terms), gradients = found[:3], found[3:]
            size = norm(gradients) / self._optimizer.scale_loss(1.0)
            finite = torch.isfinite(loss) & torch.isfinite(size)
            gradients = self._step.clipped(gradients, finite)
            skipped = self._step.skips_non_finite and not finite
            if not skipped or self._step.optimizer_skips:
                self._quick.set_rate(rate)
                self._optimizer.apply(gradients, self._variables)
            return torch.stack([loss, *terms, size, torch.full_like(loss, float(skipped))])

    def _gradients(self, batch: Sequence[torch.Tensor], number: torch.Tensor) -> list[torch.Tensor]:
        """Returns loss, terms and gradients, each the mean over micro-batches and processes."""
        count = self._step.micro_batches
        parts = list(zip(*(tensor.chunk(count) for tensor in batch), strict=True))
        sums = self._found(number, *parts[0])
        if count > 1:
            for part in parts[1:]:
                torch._foreach_add_(sums, self._found(number, *part))
            torch._foreach_div_(sums, count)
        return averaged(sums) if processes() > 1 else sums

    def _find(
        self, number: torch.Tensor, codes: torch.Tensor, weights: torch.Tensor, *drawn: torch.Tensor
    ) -> list[torch.Tensor]:
        """Returns loss, terms and gradients of a part of a batch."""
        loss, terms = self._step.loss(codes, weights, drawn, number)
        gradients = torch.autograd.grad(self._step.scaled(loss), self._values)
        return [loss.detach(), *(term.detach() for term in terms), *gradients]

    def _drawn(self, number: int) -> list[torch.Tensor]:
        self._generator.manual_seed((self._seed << 32) + number)
        draw = {"uniform": torch.rand, "normal": torch.randn}
        return [
            draw[d.kind](d.shape, generator=self._generator, device=self._device)[self._own] for d in self._step.draws
        ]
