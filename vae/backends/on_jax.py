"""JAX: one compiled loop of training steps; weights and optimizer state are donated from call to call."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from vae.backends import Steps
from vae.training.step import MEASURES, TrainingStep


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    variables = model.variables

    @jax.jit
    def program(values: list[jax.Array], *arrays: jax.Array) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arrays)

    def call(*arrays: np.ndarray) -> Any:
        return jax.tree.map(np.asarray, program([variable.value for variable in variables], *arrays))

    return call


def training(step: TrainingStep, optimizer: keras.optimizers.Optimizer, images: np.ndarray, seed: int) -> Steps:
    variables = step.model.trainable_variables
    optimizer.build(variables)
    held = jnp.asarray(images)
    # XLA's own generator: threefry, JAX's default, costs more than the network on a CPU.
    key = jax.random.key(seed, impl="unsafe_rbg")

    def loss(weights: list[jax.Array], codes: jax.Array, key: jax.Array, number: jax.Array) -> Any:
        for_uniform, for_noise = jax.random.split(key)
        uniform = jax.random.uniform(for_uniform, step.uniform_shape(codes))
        noise = jax.random.normal(for_noise, step.noise_shape(codes))
        with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
            return step.loss(codes, uniform, noise, number)

    def run(state: Any, indices: jax.Array, images: jax.Array, first_step: jax.Array, count: jax.Array) -> Any:
        def body(i: jax.Array, carried: Any) -> Any:
            weights, slots, measures = carried
            number = first_step + i
            codes = images[indices[i]]
            (value, terms), gradients = jax.value_and_grad(loss, has_aux=True)(
                weights, codes, jax.random.fold_in(key, number), number
            )
            gradients, norm = step.clipped(gradients)
            weights, slots = optimizer.stateless_apply(slots, gradients, weights)
            return weights, slots, measures.at[i].set(jnp.stack([value, *terms, norm]))

        measures = jnp.zeros((indices.shape[0], len(MEASURES)))
        return jax.lax.fori_loop(0, count, body, (*state, measures))

    program = jax.jit(run, donate_argnums=0)

    def call(indices: np.ndarray, first_step: int, count: int) -> np.ndarray:
        state = [variable.value for variable in variables], [variable.value for variable in optimizer.variables]
        weights, slots, measures = program(state, indices, held, first_step, count)
        for variable, value in zip([*variables, *optimizer.variables], [*weights, *slots], strict=True):
            variable.assign(value)
        return np.asarray(measures)[:count]

    return call
