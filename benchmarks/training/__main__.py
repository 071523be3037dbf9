"""Training against its peers and its limit, side by side in one run.

    python -m benchmarks.training [--quick] [--json FILE] [--data DIR] [--only NAME…]

The model is an MLP VAE 784-200-200-50 with dynamically binarised Bernoulli pixels, batch 128, Adam; the convolutional
one has images 32×32×3. Every side is a process of its own, which works when it is its turn: the sides take turns of an
epoch each, round after round, and a ratio is the median of the rounds'. Compilation is over before. DIR is a folder in
MNIST's layout; without it, noise of MNIST's shape and size is used. The parts:

    pythae         TensorFlow and JAX against pythae 0.1.2 (PyTorch), which gets its own environment in build/pythae
    bare           TensorFlow and JAX against a bare lax.scan loop in pure JAX: the limit
    torch          PyTorch against a bare eager PyTorch loop
    fit            TensorFlow against Keras fit, as it is by itself and tuned
    streamed       a dataset larger than the device's memory may be, against the same data held there
    saving         validation and a checkpoint every epoch, against neither
    curves         with curves in MLflow, against without
    convolutional  TensorFlow and JAX against Keras fit with jit_compile
    start          from process start to the end of the first step, beyond the import of the framework; and how much
                   later that is with curves in MLflow

On a GPU or TPU the speeds of the product come with its model FLOP utilisation.
"""

import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.report import Figure, options, publish
from benchmarks.training import environment, flops, start
from benchmarks.training.data import Data, digits, pictures
from benchmarks.training.race import Result, Side, race
from benchmarks.training.rows import TITLES, Row, missing, rows
from benchmarks.training.setting import COLOUR_IMAGE, IMAGE, convolutional, mlp
from components.tracking import store
from elboflow.vae.compute import devices

PARTS = ("pythae", "bare", "torch", "fit", "streamed", "saving", "curves", "convolutional", "start")
START_TARGET = 2.5
CURVES_TARGET = 1.5
QUICK = "a quarter of the data, few rounds"


def main() -> None:
    """Runs the benchmark from the command line."""
    arguments = options(__doc__, quick=QUICK, data=True, parts=PARTS)
    rounds, repeats = (3, 1) if arguments.quick else (7, 5)
    with tempfile.TemporaryDirectory() as folder:
        data = digits(arguments.data, Path(folder) / "digits", 12_800 if arguments.quick else None)
        print(f"data: {arguments.data or 'noise of the shape of MNIST'}, {data.examples:,} images for training")
        small = pictures(Path(folder) / "pictures", 1_000 if arguments.quick else 5_000)
        pythae = environment.python() if "pythae" in arguments.only else sys.executable
        wanted = [row for row in rows(data, small, pythae, 4, bool(devices.gpus())) if row.name in arguments.only]
        figures = [*_races([row for row in wanted if _possible(row)], rounds)]
        if "start" in arguments.only:
            figures += _starts(data, repeats, Path(folder))
    publish(figures, arguments.json)


def _possible(row: Row) -> bool:
    if absent := missing(row):
        print(f"left out: {row.ours.name} against {row.other.name}, as {', '.join(absent)} is not installed")
    return not absent


def _races(wanted: list[Row], rounds: int) -> Iterator[Figure]:
    """Yields the speeds of all sides of each race, and then the ratios."""
    for name in dict.fromkeys(row.race for row in wanted):
        own = [row for row in wanted if row.race == name]
        results = race(list(dict.fromkeys(side for row in own for side in (row.other, row.ours))), rounds)
        yield from _speeds(results)
        yield from (compared(row, results) for row in own)


def _speeds(results: dict[Side, Result]) -> Iterator[Figure]:
    for side, result in results.items():
        speed, device = statistics.median(result.speeds), result.facts.get("device", "cpu")
        yield Figure(side.name, speed, "examples/s")
        if side.module == "product" and device != "cpu":
            yield from _utilisation(side, speed, device)


def _utilisation(side: Side, speed: float, device: str) -> Iterator[Figure]:
    most = flops.peak(device, "bfloat16" if "bfloat16" in side.arguments else "float32")
    if most is None:
        print(f"left out: the FLOP utilisation of {side.name}, as the peak of {device} is not known here")
        return
    model, shape = (convolutional(), COLOUR_IMAGE) if "convolutional" in side.arguments else (mlp(), IMAGE)
    used = speed * flops.training_flops(model, shape) / most
    yield Figure(f"{side.name}: FLOP utilisation of {device}", 100 * used, "%")


def compared(row: Row, results: dict[Side, Result]) -> Figure:
    """Returns the median of the ratios of two sides' speeds, or of the time that one takes beyond the other."""
    pairs = list(zip(results[row.ours].speeds, results[row.other].speeds, strict=True))
    if row.most_time is None:
        ratio = statistics.median(ours / other for ours, other in pairs)
        return Figure(f"{row.ours.name} / {row.other.name}", ratio, "times", row.target)
    more = statistics.median(other / ours - 1 for ours, other in pairs)
    return Figure(f"{row.ours.name}: time beyond neither", 100 * more, "%", 100 * row.most_time, at_most=True)


def _starts(data: Data, repeats: int, folder: Path) -> Iterable[Figure]:
    for backend in filter(start.installed, TITLES):
        beyond, later = list[float](), list[float]()
        mlflow = f"sqlite:///{folder}/{backend}.db"
        store.connect(mlflow)  # a run has made it by then
        start.seconds("train", backend, data.dataset, folder / f"{backend}-first", mlflow)  # reads files from the disk
        for number in range(repeats):
            output = folder / f"{backend}-{number}"
            imported = start.seconds("import", backend)
            plain = start.seconds("train", backend, data.dataset, output)
            beyond.append(plain - imported)
            later.append(start.seconds("train", backend, data.dataset, f"{output}-curves", mlflow) - plain)
        name = f"from process start to the first step on {TITLES[backend]}, beyond the framework's import"
        yield Figure(name, statistics.median(beyond), "s", START_TARGET, at_most=True)
        name = f"the first step on {TITLES[backend]} with curves in MLflow, later than without"
        yield Figure(name, statistics.median(later), "s", CURVES_TARGET, at_most=True)


if __name__ == "__main__":
    main()
