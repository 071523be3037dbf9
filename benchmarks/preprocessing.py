"""Preprocessing against the naive Beam pipeline, on the same files, interleaved in one run.

    python -m benchmarks.preprocessing [--quick] [--json FILE] [--data DIR]

The naive pipeline is the one by the book: one element per example, split by a hash, a tf.train.Example protobuf each,
`WriteToTFRecord` per split. It neither checks, counts, sums nor hashes what it writes; ours does. Both run on Beam's
in-process runner with one worker. DIR is a folder in MNIST's layout; without it, noise of MNIST's shape and size is
used, which takes longer to gunzip than MNIST itself.
"""

import argparse
import gzip
import hashlib
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from benchmarks.report import Figure, publish
from preprocessing.config import DataConfig
from preprocessing.pipeline import preprocess

TARGET = 25
SPLITS = ("train", "validation")


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the examples, one round")
    parser.add_argument("--json", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--data", type=Path, help="a folder in MNIST's layout")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = arguments.data or folder / "noise"
        if arguments.quick or not arguments.data:
            data = _excerpt(arguments.data, folder / "data", 7000 if arguments.quick else 60000)
        print(f"data: {arguments.data or 'noise of MNIST’s shape'}{', a tenth' if arguments.quick else ''}")
        publish(_measure(data, folder, rounds=1 if arguments.quick else 3), arguments.json)


def _measure(data: Path, folder: Path, rounds: int) -> list[Figure]:
    config = DataConfig.model_validate(
        {"source": {"kind": "idx", "path": str(data)}, "splits": {"train": 0.9, "validation": 0.1, "test": "source"}}
    )
    counts = preprocess(config, folder / "warm").manifest.counts
    _serialise(("", b"", 0))  # TensorFlow is imported before the clock starts, as is all that ours imports
    ours, theirs = [], []
    for number in range(rounds):
        ours.append(_seconds(lambda at: preprocess(config, at), folder / f"ours-{number}"))
        theirs.append(_seconds(lambda at: naive(data, at), folder / f"naive-{number}"))
    examples = sum(counts.values())
    ratios = [slow / fast for fast, slow in zip(ours, theirs, strict=True)]
    return [
        Figure("preprocess", examples / statistics.median(ours), "examples/s"),
        Figure("naive Beam pipeline", examples / statistics.median(theirs), "examples/s"),
        Figure("ratio (median of the rounds)", statistics.median(ratios), "times", TARGET),
    ]


def _seconds(work: Callable[[Path], object], output: Path) -> float:
    start = time.perf_counter()
    work(output)
    return time.perf_counter() - start


def naive(data: Path, output: Path) -> None:
    """The same job as a beginner's guide would have it."""
    output.mkdir()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        parts = pipeline | beam.Create(["train", "t10k"]) | beam.FlatMap(_examples, data)
        by_split = parts | beam.Partition(_split, 3)
        for split, examples in zip([*SPLITS, "test"], by_split, strict=True):
            (
                examples
                | f"serialise {split}" >> beam.Map(_serialise)
                | f"write {split}" >> beam.io.WriteToTFRecord(str(output / split), file_name_suffix=".tfrecord")
            )


def _examples(part: str, data: Path) -> Iterator[tuple[str, bytes, int]]:
    with _open(data / f"{part}-images-idx3-ubyte") as images, _open(data / f"{part}-labels-idx1-ubyte") as labels:
        _, count, height, width = struct.unpack(">4I", images.read(16))
        labels.read(8)
        for _ in range(count):
            yield part, images.read(height * width), labels.read(1)[0]


def _open(path: Path):
    return open(path, "rb") if path.exists() else gzip.open(f"{path}.gz", "rb")


def _split(example: tuple[str, bytes, int], count: int) -> int:
    part, image, _ = example
    if part == "t10k":
        return count - 1
    return int(hashlib.blake2b(image, digest_size=8).digest()[0] < 26)


def _serialise(example: tuple[str, bytes, int]) -> bytes:
    import tensorflow as tf

    _, image, label = example
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _excerpt(data: Path | None, output: Path, examples: int) -> Path:
    """Writes the first examples of a folder in MNIST's layout, or noise, as gzipped files of that layout."""
    output.mkdir()
    random = np.random.default_rng(0)
    for part, count in (("train", examples), ("t10k", examples // 6)):
        if data:
            with _open(data / f"{part}-images-idx3-ubyte") as images, _open(data / f"{part}-labels-idx1-ubyte") as labels:
                pixels, classes = images.read()[16:][: count * 784], labels.read()[8:][:count]
        else:
            pixels, classes = random.bytes(count * 784), random.integers(0, 10, count, np.uint8).tobytes()
        count = len(classes)
        with gzip.open(output / f"{part}-images-idx3-ubyte.gz", "wb", compresslevel=6) as file:
            file.write(struct.pack(">4I", 0x803, count, 28, 28) + pixels)
        with gzip.open(output / f"{part}-labels-idx1-ubyte.gz", "wb", compresslevel=6) as file:
            file.write(struct.pack(">2I", 0x801, count) + classes)
    return output


if __name__ == "__main__":
    main()
