"""The rows of the benchmark's table: who races whom, and what the ratio of their speeds should be."""

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.training.data import Data
from benchmarks.training.race import Side

TITLES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
# A quarter of the data, or less, is what the device of a streamed training may hold.
STREAMED = 4


@dataclass(frozen=True)
class Row:
    """A comparison of two sides.

    Attributes:
        race: Rows of one race run together, and may share sides.
        name: What `--only` calls it.
        ours: The product's side.
        other: What it is compared with.
        target: What its speed should be in the other's, at least; None where there is no target.
        most_time: Instead: the share by which it may take longer than the other.
    """

    race: str
    name: str
    ours: Side
    other: Side
    target: float | None = None
    most_time: float | None = None

    @property
    def backends(self) -> set[str]:
        """The frameworks of this environment that the row needs."""
        return {part for side in (self.ours, self.other) for part in side.needs}


def rows(digits: Data, pictures: Data, pythae: str, rounds_epochs: int, on_gpu: bool) -> list[Row]:
    """Returns all rows.

    Args:
        digits: The data of the MLP.
        pictures: The data of the convolutional network.
        pythae: The interpreter of pythae's environment.
        rounds_epochs: Epochs of a turn of the sides that save, so that what they write aside is theirs, too.
        on_gpu: Whether this machine has a GPU.
    """
    return [
        *_against_others(digits, pythae),
        *_with_more_to_do(digits, rounds_epochs),
        *_convolutional(pictures, on_gpu),
    ]


def _against_others(digits: Data, pythae: str) -> Iterator[Row]:
    images = (str(digits.images),)
    peer = Side("pythae", "pythae_vae", images, pythae)
    scan = Side("bare lax.scan", "bare_jax", images, needs=("jax",))
    eager = Side("bare eager PyTorch", "bare_torch", images, needs=("torch",))
    fit = Side("Keras fit", "keras_fit", images, needs=("tensorflow",))
    tuned = (*images, "--jit", "no", "--steps-per-execution", "32")  # the fastest of its ways to compile
    for backend, times, share in (("tensorflow", 2.2, 0.75), ("jax", 2.7, 0.92)):
        yield Row("speed", "pythae", product(backend, digits), peer, times)
        yield Row("speed", "bare", product(backend, digits), scan, share)
    yield Row("speed", "torch", product("torch", digits), eager, 0.8)
    yield Row("speed", "fit", product("tensorflow", digits), fit, 1.5)
    yield Row(
        "speed", "fit", product("tensorflow", digits), replace(fit, name="Keras fit, tuned", arguments=tuned), 1.5
    )


def _with_more_to_do(digits: Data, epochs: int) -> Iterator[Row]:
    megabytes = str(max(1, digits.bytes // STREAMED // 2**20))
    for backend in ("tensorflow", "jax"):
        held = product(backend, digits)
        streamed = product(backend, digits, "streamed", "--megabytes", megabytes)
        yield Row("more", "streamed", streamed, held, 0.85)
        saving = product(backend, digits, "validating and saving", "--saves", "--epochs", str(epochs))
        yield Row("more", "saving", saving, held, most_time=0.08)
        curves = product(backend, digits, "curves in MLflow", "--curves", "--epochs", str(epochs))
        yield Row("more", "curves", curves, held, most_time=0.01)


def _convolutional(pictures: Data, on_gpu: bool) -> Iterator[Row]:
    model = ("--model", "convolutional")
    fit = Side(
        "Keras fit, convolutional, jit_compile",
        "keras_fit",
        (str(pictures.images), *model, "--jit", "yes"),
        needs=("tensorflow",),
    )
    for backend in ("tensorflow", "jax"):
        yield Row("convolutional", "convolutional", product(backend, pictures, "convolutional", *model), fit, 1.2)
        if on_gpu:
            half = product(backend, pictures, "convolutional, bfloat16", *model, "--precision", "bfloat16")
            yield Row("convolutional", "convolutional", half, fit)


def product(backend: str, data: Data, variant: str = "", *arguments: str) -> Side:
    """Returns the product on a backend."""
    name = ", ".join(filter(None, (f"ELBOflow on {TITLES[backend]}", variant)))
    return Side(
        name, "product", (str(data.dataset), "--backend", backend, *arguments), sys.executable, needs=(backend,)
    )


def missing(row: Row) -> list[str]:
    """Returns the frameworks that the row needs and this environment has not."""
    return sorted(name for name in row.backends if importlib.util.find_spec(name) is None)
