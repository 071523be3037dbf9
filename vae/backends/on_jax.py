"""JAX: one compiled loop of training steps; weights and optimizer state are donated from call to call."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from vae.backends import Steps, filled
from vae.backends.cluster import Cluster
from vae.data import Examples
from vae.training.step import MEASURES, TrainingStep

Held = tuple[jax.Array, jax.Array]
State = tuple[list[jax.Array], list[jax.Array]]


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    variables = model.variables

    @jax.jit
    def program(values: list[jax.Array], *arrays: jax.Array) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arrays)

    def call(*arrays: np.ndarray) -> Any:
        return jax.tree.map(np.asarray, program([variable.value for variable in variables], *arrays))

    return call


def training(step: TrainingStep, seed: int) -> Steps:
    return _Steps(step, seed)


def memory() -> int | None:
    """Returns the bytes in use on the first device; None where it does not tell, as processors do not."""
    statistics = jax.local_devices()[0].memory_stats()
    return statistics["bytes_in_use"] if statistics else None


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
    with jax.profiler.trace(str(folder)):
        yield


class _Steps:
    def __init__(self, step: TrainingStep, seed: int) -> None:
        self._step, self._optimizer = step, step.optimizer
        self._variables = step.model.trainable_variables
        self._optimizer.build(self._variables)
        rate = self._optimizer.learning_rate
        self._rate = next(i for i, variable in enumerate(self._optimizer.variables) if variable is rate)
        # XLA's own generator: threefry, JAX's default, costs more than the network on a CPU.
        self._key = jax.random.key(seed, impl="unsafe_rbg")
        self._program = jax.jit(self._run, donate_argnums=0)

    def hold(self, examples: Examples, capacity: int) -> Held:
        images, weights = filled(examples, capacity)
        return jnp.asarray(images), jnp.asarray(weights)

    def __call__(self, held: Held, rows: np.ndarray, first_step: int, count: int, factor: float) -> np.ndarray:
        variables = [*self._variables, *self._optimizer.variables]
        state = [v.value for v in self._variables], [v.value for v in self._optimizer.variables]
        weights, slots, measures = self._program(state, held, rows, first_step, count, np.float32(factor))
        for variable, value in zip(variables, [*weights, *slots], strict=True):
            variable.assign(value)
        return np.asarray(measures)[:count]

    def _run(
        self, state: State, held: Held, rows: jax.Array, first_step: jax.Array, count: jax.Array, factor: jax.Array
    ) -> Any:
        def body(i: jax.Array, carried: Any) -> Any:
            weights, slots, measures = carried
            weights, slots, measured = self._one(weights, slots, held, rows[i], first_step + i, factor)
            return weights, slots, measures.at[i].set(measured)

        measures = jnp.zeros((rows.shape[0], len(MEASURES)))
        return jax.lax.fori_loop(0, count, body, (*state, measures))

    def _one(
        self,
        weights: list[jax.Array],
        slots: list[jax.Array],
        held: Held,
        rows: jax.Array,
        number: jax.Array,
        factor: jax.Array,
    ) -> tuple[list[jax.Array], list[jax.Array], jax.Array]:
        """Returns weights, the optimizer's variables and the measures after one step."""
        parts = jax.tree.map(
            lambda batch: batch.reshape(self._step.micro_batches, -1, *batch.shape[1:]),
            (held[0][rows], held[1][rows], self._drawn(number)),
        )
        loss, terms, gradients = self._gradients(weights, slots, parts, number)
        slots = [*slots[: self._rate], self._step.rate(number, factor), *slots[self._rate + 1 :]]
        with self._scope(weights, slots):
            size = self._step.norm(gradients)
            finite = jnp.isfinite(loss) & jnp.isfinite(size)
            gradients = self._step.clipped(gradients, finite)

        def updated() -> Any:
            return self._optimizer.stateless_apply(slots, gradients, weights)

        if self._step.skips_non_finite and not self._step.optimizer_skips:
            weights, slots = jax.lax.cond(finite, updated, lambda: (weights, slots))
        else:
            weights, slots = updated()
        skipped = ~finite if self._step.skips_non_finite else jnp.zeros(())
        return weights, slots, jnp.stack([loss, *terms, size, skipped.astype(jnp.float32)])

    def _gradients(self, weights: list[jax.Array], slots: list[jax.Array], parts: Any, number: jax.Array) -> Any:
        """Returns loss, terms and gradients, each the mean over the micro-batches."""

        def scaled(weights: list[jax.Array], part: Any) -> Any:
            with self._scope(weights, slots):
                loss, terms = self._step.loss(*part, number)
                return self._step.scaled(loss), (loss, terms)

        def compute(part: Any) -> Any:
            (_, (loss, terms)), gradients = jax.value_and_grad(scaled, has_aux=True)(weights, part)
            return loss, terms, gradients

        if self._step.micro_batches == 1:
            return compute(jax.tree.map(lambda batch: batch[0], parts))
        zero = jax.tree.map(jnp.zeros_like, jax.eval_shape(compute, jax.tree.map(lambda b: b[0], parts)))
        total, _ = jax.lax.scan(lambda sums, part: (jax.tree.map(jnp.add, sums, compute(part)), None), zero, parts)
        return jax.tree.map(lambda value: value / self._step.micro_batches, total)

    def _scope(self, weights: list[jax.Array], slots: list[jax.Array]) -> keras.StatelessScope:
        """Lets Keras see these values as those of the model's and the optimizer's variables."""
        variables = zip([*self._variables, *self._optimizer.variables], [*weights, *slots], strict=True)
        return keras.StatelessScope(state_mapping=list(variables))

    def _drawn(self, number: jax.Array) -> tuple[jax.Array, ...]:
        keys = jax.random.split(jax.random.fold_in(self._key, number), max(2, len(self._step.draws)))
        draw = {"uniform": jax.random.uniform, "normal": jax.random.normal}
        return tuple(draw[d.kind](key, d.shape) for d, key in zip(self._step.draws, keys, strict=False))
