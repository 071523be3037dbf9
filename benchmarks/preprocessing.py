"""Preprocessing against the naive Beam pipeline, on the same files, interleaved in one run.

    python -m benchmarks.preprocessing [--quick] [--json FILE] [--data DIR]

The naive pipeline is the one by the book: the arrays are loaded, `beam.Create` makes one element per example, each
becomes a tf.train.Example protobuf and goes to `WriteToTFRecord`. A second one, without a target, is by someone who
knows that `Create` is slow: the worker itself reads one example after the other. Neither checks, counts, sums,
shuffles or hashes what it writes; ours does. All run on Beam's in-process runner with one worker. DIR is a folder in
MNIST's layout; without it, noise of MNIST's shape and size is used.
"""

import gc
import gzip
import hashlib
import itertools
import operator
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import apache_beam as beam
import numpy as np
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from benchmarks.report import Figure, options, publish
from preprocessing.config import DataConfig
from preprocessing.pipeline import preprocess

TARGET = 25
SPLITS = ("train", "validation", "test")

Example = tuple[str, bytes | np.ndarray, int]  # the part of the source, the image and the label


def main() -> None:
    """Runs the benchmark from the command line."""
    arguments = options(__doc__, quick="a sixth of the examples, one round", data=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = arguments.data
        if arguments.quick or not data:
            data = _excerpt(arguments.data, folder / "data", 10_000 if arguments.quick else 60_000)
        print(f"data: {arguments.data or 'noise of the shape of MNIST'}{', a sixth of it' if arguments.quick else ''}")
        publish(_measure(data, folder, rounds=1 if arguments.quick else 3), arguments.json)


def _measure(data: Path, folder: Path, rounds: int) -> list[Figure]:
    config = DataConfig.model_validate(
        {"source": {"kind": "idx", "path": str(data)}, "splits": {"train": 0.9, "validation": 0.1, "test": "source"}}
    )
    sides: dict[str, Callable[[Path], object]] = {
        "preprocess": lambda output: preprocess(config, output),
        "naive": lambda output: naive(data, output),
        "streamed one by one": lambda output: streamed(data, output),
    }
    _serialise(("", b"", 0))  # TensorFlow is imported before the clock starts, as is all that ours imports
    examples = sum(preprocess(config, folder / "warm").manifest.counts.values())
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, work in sides.items():
            seconds[name].append(_seconds(work, folder / f"{name}-{number}"))
    ours = seconds["preprocess"]
    ratio = {name: statistics.median(map(operator.truediv, found, ours)) for name, found in seconds.items()}
    return [
        *(Figure(name, examples / statistics.median(found), "examples/s") for name, found in seconds.items()),
        Figure("ratio to naive", ratio["naive"], "times", TARGET),
        Figure("ratio to streamed one by one", ratio["streamed one by one"], "times"),
    ]


def _seconds(work: Callable[[Path], object], output: Path) -> float:
    output.mkdir()
    gc.collect()  # each side pays for its own garbage
    start = time.perf_counter()
    work(output)
    return time.perf_counter() - start


def naive(data: Path, output: Path) -> None:
    """Writes examples that were loaded as arrays, the way that tutorials do."""
    examples = [
        (part, np.frombuffer(image, np.uint8).reshape(28, 28), label)
        for part in ("train", "t10k")
        for part, image, label in _examples(part, data)
    ]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _write(pipeline | beam.Create(examples), output)


def streamed(data: Path, output: Path) -> None:
    """Writes examples that a worker reads one by one: for someone who knows how Beam moves elements."""
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _write(pipeline | beam.Create(["train", "t10k"]) | beam.FlatMap(_examples, data), output)


def _write(examples: beam.PCollection, output: Path) -> None:
    by_split = examples | beam.Partition(_split, len(SPLITS))
    for split, part in zip(SPLITS, by_split, strict=True):
        records = part | f"serialise {split}" >> beam.Map(_serialise)
        records | f"write {split}" >> beam.io.WriteToTFRecord(str(output / split), file_name_suffix=".tfrecord")


def _examples(part: str, data: Path) -> Iterator[Example]:
    with _open(data / f"{part}-images-idx3-ubyte") as images, _open(data / f"{part}-labels-idx1-ubyte") as labels:
        _, count, height, width = struct.unpack(">4I", images.read(16))
        labels.read(8)
        for _ in range(count):
            yield part, images.read(height * width), labels.read(1)[0]


def _open(path: Path) -> BinaryIO:
    return open(path, "rb") if path.exists() else cast(BinaryIO, gzip.open(f"{path}.gz", "rb"))


def _split(example: Example, count: int) -> int:
    part, image, _ = example
    if part == "t10k":
        return count - 1
    return int(hashlib.blake2b(bytes(image), digest_size=8).digest()[0] < 26)


def _serialise(example: Example) -> bytes:
    import tensorflow as tf

    _, image, label = example
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[bytes(image)])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _excerpt(data: Path | None, output: Path, count: int) -> Path:
    """Writes the first examples of a folder in MNIST's layout, or noise, as gzipped files of that layout."""
    output.mkdir()
    random = np.random.default_rng(0)
    for part, size in (("train", count), ("t10k", count // 6)):
        if data:
            found = list(itertools.islice(_examples(part, data), size))
            pixels, labels = b"".join(bytes(image) for _, image, _ in found), bytes(label for _, _, label in found)
        else:
            pixels, labels = random.bytes(size * 784), random.integers(0, 10, size, np.uint8).tobytes()
        with gzip.open(output / f"{part}-images-idx3-ubyte.gz", "wb", compresslevel=6) as file:
            file.write(struct.pack(">4I", 0x803, len(labels), 28, 28) + pixels)
        with gzip.open(output / f"{part}-labels-idx1-ubyte.gz", "wb", compresslevel=6) as file:
            file.write(struct.pack(">2I", 0x801, len(labels)) + labels)
    return output


if __name__ == "__main__":
    main()
