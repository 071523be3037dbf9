"""Keras `fit` on TensorFlow, given the same VAE as a Keras model with its own `train_step`.

The data come from a shuffled tf.data pipeline from memory, as Keras's guides have it.
"""

import argparse
import os
import sys
from typing import Any

import numpy as np

from benchmarks.training.setting import BATCH, CLIP, LEARNING_RATE, convolutional, mlp
from benchmarks.training.turns import Turns

MODELS = {"mlp": mlp, "convolutional": convolutional}


def main() -> None:
    """Trains on the images of a .npy file until it is stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("--model", choices=MODELS, default="mlp")
    parser.add_argument("--jit", choices=["auto", "yes", "no"], default="auto", help="Keras's jit_compile")
    parser.add_argument("--steps-per-execution", type=int, default=1)
    arguments = parser.parse_args(sys.argv[1:])
    turns = Turns()
    os.environ["KERAS_BACKEND"] = "tensorflow"
    jit_compile = {"auto": "auto", "yes": True, "no": False}[arguments.jit]
    options = {"jit_compile": jit_compile, "steps_per_execution": arguments.steps_per_execution}
    _fit(np.load(arguments.images), arguments.model, turns, options)


def _fit(images: np.ndarray, model: str, turns: Turns, options: dict[str, Any]) -> None:
    import keras
    import tensorflow as tf

    from elboflow.artifacts.spec import FeatureSpec

    class ByTheBook(keras.Model):
        """The VAE with the training step that Keras's own guides give a model with a loss of its own."""

        def __init__(self) -> None:
            super().__init__()
            spec = FeatureSpec(kind="image", dtype="uint8", shape=images.shape[1:], levels=256)
            self.vae = MODELS[model]().build({"image": spec})
            self.networks = list(self.vae.parts.values())  # their variables are this model's
            self.seeds = keras.random.SeedGenerator(0)

        def train_step(self, codes: tf.Tensor) -> dict[str, tf.Tensor]:
            with tf.GradientTape() as tape:
                noise = {
                    "x": keras.random.uniform((BATCH, *images.shape[1:]), seed=self.seeds),
                    "z": keras.random.normal((1, BATCH, self.vae.latent), seed=self.seeds),
                }
                loss = -keras.ops.mean(self.vae.terms({"image": codes}, noise).measures["elbo"])
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"loss": loss}

    class Clock(keras.callbacks.Callback):
        """Ends a turn at every epoch's end."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            turns.done(len(images) // BATCH * BATCH)

    trained = ByTheBook()
    trained.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE, global_clipnorm=CLIP), **options)
    batches = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images)).batch(BATCH, drop_remainder=True)
    trained.fit(batches.prefetch(tf.data.AUTOTUNE), epochs=1_000_000, verbose=0, callbacks=[Clock()])


if __name__ == "__main__":
    main()
