"""TensorFlow: one XLA program runs a loop of training steps, with data and variables on the device."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vae.backends import Steps
from vae.training.step import MEASURES, TrainingStep

# Left to itself, XLA on a CPU spends two thirds of a small model's step on random numbers; threefry takes a tenth.
GENERATOR = "threefry"


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    program = tf.function(function, jit_compile=True)

    def call(*arrays: np.ndarray) -> Any:
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), program(*map(tf.convert_to_tensor, arrays)))

    return call


def training(step: TrainingStep, optimizer: keras.optimizers.Optimizer, images: np.ndarray, seed: int) -> Steps:
    variables = step.model.trainable_variables
    optimizer.build(variables)
    held = tf.constant(images)
    streams = 2 * seed, 2 * seed + 1

    @tf.function(jit_compile=True)
    def run(indices: tf.Tensor, first_step: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        measures = tf.zeros((indices.shape[0], len(MEASURES)))

        def body(i: tf.Tensor, measures: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            codes = tf.gather(held, indices[i])
            number = first_step + i
            for_uniform, for_noise = (tf.stack([tf.constant(s, tf.int64), tf.cast(number, tf.int64)]) for s in streams)
            uniform = tf.random.stateless_uniform(step.uniform_shape(codes), for_uniform, alg=GENERATOR)
            noise = tf.random.stateless_normal(step.noise_shape(codes), for_noise, alg=GENERATOR)
            with tf.GradientTape() as tape:
                loss, terms = step.loss(codes, uniform, noise, number)
            gradients, norm = step.clipped(tape.gradient(loss, variables))
            optimizer.apply(gradients, variables)
            return i + 1, tf.tensor_scatter_nd_update(measures, [[i]], [tf.stack([loss, *terms, norm])])

        return tf.while_loop(lambda i, _: i < count, body, (tf.constant(0), measures))[1]

    def call(indices: np.ndarray, first_step: int, count: int) -> np.ndarray:
        return run(tf.constant(indices), tf.constant(first_step), tf.constant(count)).numpy()[:count]

    return call
