"""Two datasets, or the weights of two models, that should be equal: the first record or weight that differs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.tracking.parameters import flat
from elboflow.artifacts.spec import LENGTH
from elboflow.settings import WorkError
from elboflow.settings.text import counted
from elboflow.vae import folder, keras_file
from elboflow.vae.folder import ModelFolder
from preprocessing.manifest import Manifest
from preprocessing.reader import Arrays, Dataset
from preprocessing.records import KEY


def same_records(recorded: Manifest, found: Manifest) -> bool:
    """Returns whether two datasets hold the same files."""
    return recorded.shards == found.shards and recorded.features == found.features


def first_record(recorded: Dataset, found: Dataset) -> str | None:
    """Returns the first record of a dataset that another one does not have, or has with other values; None if all are.

    Records are the same if their keys are; the keys of a split are held in memory, the values of a shard at a time
    where the shards hold the same numbers of examples.

    Raises:
        WorkError: A shard is missing or damaged.
    """
    for split in recorded.manifest.shards:
        if split not in found.manifest.shards:
            return f"the split {split!r} is missing"
        ours, theirs = _keys(recorded, split), _keys(found, split)
        if difference := _other_key(ours, theirs, split):
            return difference
        sizes = [[shard.examples for shard in side.manifest.shards[split]] for side in (recorded, found)]
        begin = 0
        for one, other in _parts(recorded, found, split, len(sizes[0]) if sizes[0] == sizes[1] else None):
            if difference := _other_value(one, other, split, begin):
                return difference
            begin += len(one[KEY])
    return None


def first_fact(recorded: Manifest, found: Manifest) -> str:
    """Returns what differs first as far as the manifests of two datasets say: features, counts, statistics, a shard."""
    for name in sorted({*recorded.features, *found.features}):
        if recorded.features.get(name) != found.features.get(name):
            return f"the feature {name!r} is stored otherwise"
    facts = [flat({"counts": side.counts, "summaries": side.summaries}) for side in (recorded, found)]
    told = ""
    for key in {**facts[0], **facts[1]}:
        if facts[0].get(key) != facts[1].get(key):
            told = f"{key}: {facts[0].get(key, 'none')} recorded, {facts[1].get(key, 'none')} found; "
            break
    shards = {shard.name: shard for shard in found.all_shards}
    for shard in recorded.all_shards:
        if shards.get(shard.name) != shard:
            return f"{told}the shard {shard.name}, of {counted(shard.examples, 'example')}"
    return f"{told}further shards"


def first_weight(recorded: Path, found: ModelFolder) -> str | None:
    """Returns the first variable in which a `.keras` file differs from a model, and by how much; None if none does."""
    try:
        ours = keras_file.weights(recorded, found.config, found.specs)
    except (WorkError, OSError) as error:
        return f"the recorded weights cannot be compared: {error}"
    theirs = keras_file.weights(found.path / folder.MODEL, found.config, found.specs)
    for place, values in ours.items():
        if (differ := int(np.count_nonzero(values != theirs[place]))) > 0:
            by = float(np.abs(values - theirs[place]).max())
            return f"{place} differs in {differ:,} of {counted(values.size, 'number')}, by up to {by:.3g}"
    return None


def _parts(recorded: Dataset, found: Dataset, split: str, shards: int | None) -> Iterator[tuple[Arrays, Arrays]]:
    """Yields the arrays of a split on both sides: a shard at a time, or whole where the shards are not alike."""
    if shards is None:
        yield recorded.read(split), found.read(split)
    for number in range(shards or 0):
        yield recorded.read_shard(split, number), found.read_shard(split, number)


def _keys(dataset: Dataset, split: str) -> np.ndarray:
    return np.concatenate([dataset.read_shard(split, n)[KEY] for n in range(len(dataset.shards(split)))])


def _other_key(ours: np.ndarray, theirs: np.ndarray, split: str) -> str | None:
    """Returns which record is missing, or new if none is; an example and its copies have one key."""
    if np.array_equal(np.sort(ours), np.sort(theirs)):
        return None
    for here, there, what in ((ours, theirs, "is not made any more"), (theirs, ours, "was not there")):
        keys, counts = np.unique(here, return_counts=True)
        others = dict(zip(*(found.tolist() for found in np.unique(there, return_counts=True)), strict=True))
        if gone := [key for key, n in zip(keys.tolist(), counts.tolist(), strict=True) if others.get(key, 0) < n]:
            first = int(np.isin(here, gone).argmax())
            return f"{split}: record {first} with the key {here[first]:x} {what} ({len(gone):,} such)"
    return None


def _other_value(ours: Arrays, theirs: Arrays, split: str, begin: int) -> str | None:
    """Returns the first record of a part of a split whose features differ, and which feature."""
    order, other = (np.argsort(side[KEY], kind="stable") for side in (ours, theirs))
    found: list[tuple[int, str]] = []
    for name in (name for name in ours if name != KEY):
        one, two = _of_one_width(ours[name][order], theirs[name][other])
        differ = ((one != two) & ~((one != one) & (two != two))).reshape(len(one), -1)  # a NaN equals a NaN
        if differ.any():
            row = int(differ.any(axis=1).argmax())
            at = int(differ[row].argmax())
            was, now = one.reshape(len(one), -1)[row, at], two.reshape(len(two), -1)[row, at]
            feature = f"the length of {name.removesuffix(LENGTH)!r}" if name.endswith(LENGTH) else f"{name!r}"
            found.append((int(order[row]), f"{feature} is {was} recorded, {now} found"))
    if not found:
        return None
    first, told = min(found)
    return f"{split}: record {begin + first} with the key {ours[KEY][first]:x}: {told}"


def _of_one_width(one: np.ndarray, two: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pads the values of a ragged feature, whose width is that of the longest in its dataset."""
    if one.shape == two.shape:
        return one, two
    width = max(one.shape[1], two.shape[1])
    pads = [((0, 0), (0, width - side.shape[1]), *[(0, 0)] * (side.ndim - 2)) for side in (one, two)]
    return np.pad(one, pads[0]), np.pad(two, pads[1])
