"""Training on TensorFlow against Keras `fit`: the same model, data and batch size, interleaved in one run.

    python -m benchmarks.training [--quick] [--json FILE] [--data DIR]

The model is an MLP VAE 784-200-200-50 with dynamically binarised Bernoulli pixels, batch 128, Adam. `fit` is given the
same VAE as a Keras model with its own `train_step`, a shuffled tf.data pipeline from memory, and compiles as Keras
chooses by itself; the tuned one gets steps_per_execution=32 without XLA, which of its ways to compile is the fastest
here (with jit_compile=True it spends most of its time on random numbers, a third of the default's speed). The figures
are examples/s over whole epochs after the first, which compiles; no side validates or saves. DIR is a folder in MNIST's
layout; without it, noise of MNIST's shape and size is used.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Figure, options, publish
from preprocessing.config import DataConfig
from preprocessing.pipeline import preprocess
from preprocessing.reader import open_dataset
from vae import backends
from vae.config import MLP, Constant, ModelConfig, TrainingConfig
from vae.data import Examples, ImageSpec

TARGET = 1.5
BATCH = 128
SPEC = ImageSpec((28, 28, 1), 256)
MODEL = ModelConfig(latent=50, encoder=MLP(hidden=[200, 200]), decoder=MLP(hidden=[200, 200]))


def main() -> None:
    """Runs the benchmark from the command line."""
    arguments = options(__doc__, quick="one round of few epochs", data=True)
    images = _mnist(arguments.data) if arguments.data else _noise()
    print(f"data: {arguments.data or 'noise of the shape of MNIST'}, {len(images):,} images")
    backends.use("tensorflow")
    rounds, epochs = (1, 3) if arguments.quick else (3, 4)
    speeds: dict[str, list[float]] = {"elboflow": [], "Keras fit": [], "Keras fit, tuned": []}
    for _ in range(rounds):
        speeds["elboflow"].append(_ours(images, epochs))
        speeds["Keras fit"].append(_fit(images, epochs))
        speeds["Keras fit, tuned"].append(_fit(images, epochs, jit_compile=False, steps_per_execution=32))
    figures = [Figure(name, statistics.median(values), "examples/s") for name, values in speeds.items()]
    for name in ("Keras fit", "Keras fit, tuned"):
        ratios = [ours / theirs for ours, theirs in zip(speeds["elboflow"], speeds[name], strict=True)]
        figures.append(Figure(f"ratio to {name} (median of the rounds)", statistics.median(ratios), "times", TARGET))
    publish(figures, arguments.json)


def _ours(images: np.ndarray, epochs: int) -> float:
    from vae.training import train

    examples = Examples(images, np.arange(len(images)))
    settings = TrainingConfig(epochs=epochs, batch_size=BATCH, learning_rate=Constant(), early_stopping=None)
    with tempfile.TemporaryDirectory() as folder:
        trained = train(examples, examples.head(BATCH), SPEC, MODEL, settings, 0, Path(folder) / "checkpoint.npz", {})
    return statistics.median(trained.curves.train["examples_per_second"][1:])


def _fit(images: np.ndarray, epochs: int, **compile_options: Any) -> float:
    import keras
    import tensorflow as tf

    from vae import objectives
    from vae.model import VAE

    class ByTheBook(keras.Model):
        """The VAE with the training step that Keras's own guides give a model with a loss of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.vae = VAE(MODEL, SPEC)
            self.seeds = keras.random.SeedGenerator(0)

        def train_step(self, codes: tf.Tensor) -> dict[str, tf.Tensor]:
            with tf.GradientTape() as tape:
                x = self.vae.prepare(codes, keras.random.uniform((BATCH, *SPEC.shape), seed=self.seeds))
                noise = keras.random.normal((1, BATCH, self.vae.latent), seed=self.seeds)
                terms = self.vae.terms(x, noise)
                loss = -keras.ops.mean(objectives.reconstruction(terms) - objectives.kl(terms))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"loss": loss}

    class Clock(keras.callbacks.Callback):
        """The seconds of each epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            self.seconds.append(time.perf_counter() - self.started)

    model, clock = ByTheBook(), Clock()
    model.compile(optimizer=keras.optimizers.Adam(1e-3, global_clipnorm=100.0), **compile_options)
    batches = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images)).batch(BATCH, drop_remainder=True)
    model.fit(batches.prefetch(tf.data.AUTOTUNE), epochs=epochs, verbose=0, callbacks=[clock])
    return len(images) // BATCH * BATCH / statistics.median(clock.seconds[1:])


def _mnist(folder: Path) -> np.ndarray:
    source = {"kind": "idx", "path": str(folder)}
    config = DataConfig.model_validate(
        {"source": source, "splits": {"train": 0.9, "validation": 0.1, "test": "source"}}
    )
    with tempfile.TemporaryDirectory() as output:
        preprocess(config, Path(output))
        return open_dataset(output).read("train")["image"]


def _noise() -> np.ndarray:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (54_000, *SPEC.shape), dtype=np.uint8)
    return images * (rng.random(images.shape) < 0.2)  # a digit covers about a fifth of its image


if __name__ == "__main__":
    main()
