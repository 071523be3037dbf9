"""PyTorch: eager operations, traced once; each step seeds a noise generator with the step number."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
import torch.distributed as distributed
from torch.utils._pytree import tree_map

from elboflow.vae.compute.contract import Measures, Steps
from elboflow.vae.compute.torch.devices import placement
from elboflow.vae.compute.torch.distributed import all_reduce_max, averaged, processes, together
from elboflow.vae.compute.torch.fast import FusedOptimizer, Repeated, norm
from elboflow.vae.compute.training_step import TrainingStep, Turn
from elboflow.vae.data import Examples
from elboflow.vae.model import Model, variables

__all__ = [
    "all_reduce_max",
    "compiled",
    "memory",
    "on_processors",
    "profiled",
    "scope",
    "together",
    "training",
    "values",
]

OnDevice = dict[str, torch.Tensor]


def compiled(model: Model, function: Callable[..., Any]) -> Callable[..., Any]:
    device = variables(model)[0].value.device

    def call(*arrays: Any) -> Any:
        with torch.no_grad():
            given = tree_map(lambda array: torch.from_numpy(np.ascontiguousarray(array)).to(device), arrays)
            return tree_map(lambda tensor: tensor.numpy(force=True), function(*given))

    return call


def training(step: TrainingStep, seed: int) -> Steps:
    return _Steps(step, seed)


def memory() -> int | None:
    device = placement().device
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else None


def values(wanted: Sequence[keras.Variable]) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in wanted]


def on_processors() -> bool:
    return placement().device.type == "cpu"


@contextmanager
def scope() -> Iterator[None]:
    yield  # Keras creates all variables on the device of this process


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    with torch.profiler.profile() as profile:
        yield
    folder.mkdir(parents=True, exist_ok=True)
    profile.export_chrome_trace(str(folder / "trace.json"))


class _Steps:
    def __init__(self, step: TrainingStep, seed: int) -> None:
        self._step, self._seed = step, seed
        for turn in step.turns:
            turn.optimizer.build(list(turn.player.variables))
        self._turns = [_Turn(step, turn) for turn in step.turns]
        self._device = variables(step.model)[0].value.device
        self._generator = torch.Generator(self._device)
        each = step.batch_size // processes()
        first = each * distributed.get_rank() if processes() > 1 else 0
        self._own = slice(first, first + each)  # the part of this process in the whole batch

    def to_device(self, examples: Examples, capacity: int) -> OnDevice:
        batch = examples.batch(capacity)
        return {name: torch.from_numpy(values).to(self._device) for name, values in batch.items()}

    def __call__(self, on_device: OnDevice, rows: np.ndarray, first_step: int, count: int, factor: float) -> Measures:
        numbers = torch.arange(first_step, first_step + count, device=self._device)
        rates = self._step.rate(numbers, factor).tolist()
        batches = torch.from_numpy(rows[:count]).to(self._device)
        for turn in self._turns:
            turn.begin()
        names: list[str] = []
        of_steps = []
        for i in range(count):
            batch = {name: values[batches[i]] for name, values in on_device.items()}
            drawn = self._drawn(first_step + i)
            measures: dict[str, torch.Tensor] = {}
            for turn in self._turns:
                measures |= turn.applied(turn.found(batch, drawn, numbers[i]), rates[i])
            names = list(measures)
            of_steps.append(torch.stack(list(measures.values())))
        return dict(zip(names, torch.stack(of_steps, dim=1).numpy(force=True), strict=True))

    def _drawn(self, number: int) -> list[torch.Tensor]:
        self._generator.manual_seed((self._seed << 32) + number)
        draw, batch = {"uniform": torch.rand, "normal": torch.randn}, self._step.batch_size
        return [
            draw[d.kind]((batch, *d.of_example), generator=self._generator, device=self._device)[self._own]
            for d in self._step.draws
        ]


class _Turn:
    """The turn of a player in a step."""

    def __init__(self, step: TrainingStep, turn: Turn) -> None:
        self._step, self._turn = step, turn
        self._weights = [variable.value for variable in turn.player.variables]
        self._state = step.model.state
        self._quick = FusedOptimizer(turn.optimizer)
        self._repeated = Repeated(self._find)
        self._features: list[str] = []
        self._names: list[str] = []  # names of the measures, in the order of `_find`

    def begin(self) -> None:
        """Prepares a series of steps; call it before the first step."""
        self._quick.begin()

    def found(self, batch: OnDevice, drawn: Sequence[torch.Tensor], number: torch.Tensor) -> list[torch.Tensor]:
        """Returns loss, measures, gradients and the model's state, averaged over micro-batches and processes."""
        self._features = list(batch)
        count = self._step.micro_batches
        parts = list(zip(*(tensor.chunk(count) for tensor in (*batch.values(), *drawn)), strict=True))
        sums = self._repeated(number, *parts[0])
        if count > 1:
            for part in parts[1:]:
                torch._foreach_add_(sums, self._repeated(number, *part))
            torch._foreach_div_(sums, count)
        return averaged(sums) if processes() > 1 else sums

    def applied(self, found: list[torch.Tensor], rate: float) -> dict[str, torch.Tensor]:
        """Updates weights, optimizer and the model's state; returns the measures."""
        turn, named, weights = self._turn, len(self._names), len(self._weights)
        loss, *others = found
        measures, gradients, kept = others[:named], others[named : named + weights], others[named + weights :]
        with torch.no_grad():
            size = norm(gradients) / turn.optimizer.scale_loss(1.0)
            finite = torch.isfinite(loss) & torch.isfinite(size)
            gradients = self._step.clipped(turn, gradients, finite)
            skipped = self._step.skips_non_finite and not finite
            if not skipped or turn.skips:
                self._quick.set_rate(rate)
                turn.optimizer.apply(gradients, list(turn.player.variables))
                for variable, value in zip(self._state, kept, strict=True):
                    variable.assign(value)
        means = dict(zip(self._names, measures, strict=True))
        return means | self._step.measured(turn, loss, size, torch.full_like(loss, float(skipped)))

    def _find(self, number: torch.Tensor, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """Returns loss, measures, gradients and the model's state of a part of a batch, in one list."""
        features = len(self._features)
        batch = dict(zip(self._features, tensors, strict=False))
        scope = keras.StatelessScope(state_mapping=[(variable, variable.value) for variable in self._state])
        with scope if self._state else nullcontext():
            losses = self._turn.player.loss(batch, self._step.noise(tensors[features:]), number)
            loss, measures = self._step.means(self._turn, batch, losses)
        # Clones, because a value that the loss did not assign is the variable itself, and the caller adds in place.
        kept = [scope.get_current_value(variable).clone() for variable in self._state]
        gradients = torch.autograd.grad(self._turn.scaled(loss), self._weights)
        self._names = list(measures)
        return [part.detach() for part in (loss, *measures.values(), *gradients, *kept)]
