"""The number of shards of each split, and the final names of the written shards."""

import math
from collections.abc import Mapping

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from preprocessing.config import HELD_OUT, DataConfig
from preprocessing.features import Fitted
from preprocessing.manifest import Shard
from preprocessing.report import Report

RECORD_OVERHEAD = 80
"""Approximate bytes of a record besides its large values: framing, names, key and a label."""


def shard_counts(
    config: DataConfig, fitted: Mapping[str, Fitted], read: Mapping[str, int], source: str
) -> dict[str, int]:
    """Returns the number of shards of each split: a function of the config and the number of examples.

    Args:
        config: The settings of the dataset.
        fitted: The fitted features.
        read: Examples by part of the source.
        source: The description of the source, for the error.

    Raises:
        WorkError: There are no examples.
    """
    require_examples(read, source)
    count, held_out = sum(read.values()), read.get("held_out", 0)
    hashed = count - held_out if HELD_OUT in config.splits.values() else count
    record = sum(feature.stored_bytes for feature in fitted.values()) + RECORD_OVERHEAD
    examples = {n: held_out if isinstance(f, str) else hashed * f for n, f in config.splits.items()}
    return {n: max(1, math.ceil(e * record / (config.shards.megabytes * 1e6))) for n, e in examples.items()}


def require_examples(read: Mapping[str, int], source: str) -> None:
    """Raises a WorkError if no part of a source has an example."""
    if not sum(read.values()):
        raise WorkError(f"{source}: the source is empty; at least one example for each split is expected")


def check_splits(config: DataConfig, report: Report) -> None:
    """Raises a WorkError if a split came out empty."""
    counts = {split: sum(shard.examples for shard in report.of(split)) for split in config.splits}
    examples, distinct = sum(counts.values()), sum(shard.distinct for shard in report.shards)
    held = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    copies = ""
    if distinct < examples:
        same = " and ".join(config.identifying)
        copies = f", which are {distinct:,} distinct: examples with the same {same} are always in one split"
    for split, count in counts.items():
        if not count:
            raise WorkError(
                f"the split {split!r} came out empty: data.splits gives it {config.splits[split]} of "
                f"{counted(examples, 'example')}{copies}; the splits hold {held}; give it a larger share, or more "
                f"distinct examples{_range_advice(config, report)}"
            )


def _range_advice(config: DataConfig, report: Report) -> str:
    """Returns advice about features whose range is far too wide, which makes distinct examples equal."""
    seen = sorted(report.seen.items())
    doubts = [(extent, config.features[name].doubt(name, extent)) for name, extent in seen]
    return "".join(f"; {extent}: {doubt}" for extent, doubt in doubts if doubt)


def named(config: DataConfig, report: Report) -> tuple[dict[str, list[Shard]], dict[str, str]]:
    """Returns the shards of each split under their final names, and the temporary path of each by final name."""
    shards: dict[str, list[Shard]] = {split: [] for split in sorted(config.splits)}
    places = {}
    for split, listed in shards.items():
        written = report.of(split)
        for number, shard in enumerate(written):
            name = f"{split}-{number:05d}-of-{len(written):05d}.tfrecord"
            listed.append(Shard(name=name, examples=shard.examples, bytes=shard.bytes, sha256=shard.sha256))
            places[name] = shard.name
    return shards, places
