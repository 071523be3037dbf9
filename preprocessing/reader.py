"""A dataset folder → arrays, checked against its manifest.

    dataset = open_dataset("datasets/3f2a…")
    dataset.manifest.counts                      # {"test": 180, "train": 1437, "validation": 180}
    dataset.read("test")["image"]                # uint8 [180, 8, 8, 1]
    dataset.read_shard("train", 0)["image"]      # for splits larger than memory: uint8 [1437, 8, 8, 1]

Reading needs NumPy and google-crc32c. It needs no TensorFlow, and Beam only for a folder named by a URI.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import google_crc32c
import numpy as np

from elboflow.artifacts.spec import LENGTH, FeatureSpec
from elboflow.settings import RequestError, WorkError
from elboflow.settings.text import counted
from preprocessing import files, records
from preprocessing import manifest as manifests
from preprocessing.manifest import Manifest, Shard
from preprocessing.records import KEY, Ragged

Arrays = dict[str, np.ndarray]

_BLOCK = 16 << 20


def open_dataset(path: Path | str) -> "Dataset":
    """Opens a finished dataset folder. Examples are read later.

    Raises:
        WorkError: There is no finished dataset.
    """
    folder = str(path)
    return Dataset(folder, manifests.load(folder))


@dataclass(frozen=True)
class Dataset:
    """A finished dataset."""

    folder: str
    manifest: Manifest

    def _repr_html_(self) -> str:
        return self.manifest._repr_html_()

    def read(self, split: str, verify: bool = True) -> Arrays:
        """Reads all examples of a split, in the order of its shards and of the keys in them.

        Args:
            split: The split's name.
            verify: Whether to compare each shard with the checksum in the manifest.

        Returns:
            Each feature as [examples, *shape] with the dtype of the manifest, and `key` as int64 [examples]. A ragged
            feature is padded with 0 along its first axis to the longest length in the dataset; NAME.length holds the
            length of each example, int32 [examples].

        Raises:
            RequestError: There is no such split.
            WorkError: A shard is missing or damaged.
        """
        parts = [self._decode(shard, read_shard(self.folder, shard, verify), verify) for shard in self.shards(split)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def shards(self, split: str) -> list[Shard]:
        """Returns the shards of a split, in their order.

        Raises:
            RequestError: There is no such split.
        """
        if split not in self.manifest.shards:
            raise RequestError(f"{self.folder} has no split {split!r}; it has {sorted(self.manifest.shards)}")
        return self.manifest.shards[split]

    def read_shard(self, split: str, number: int) -> Arrays:
        """Reads the examples of one shard. Repeated reads, and reads from several threads, are allowed.

        The first read compares the shard with its SHA-256. Later reads compare it with the CRC-32C of the first read,
        which costs next to nothing.

        Returns:
            The arrays as `read` returns them, for this shard. They may be read-only.

        Raises:
            RequestError: There is no such split.
            WorkError: The shard is missing or damaged, or has been changed.
        """
        shard = self.shards(split)[number]
        content = read_shard(self.folder, shard, verify=shard.name not in self._verified)
        crc = google_crc32c.value(content)
        if self._verified.setdefault(shard.name, crc) != crc:
            content = read_shard(self.folder, shard)  # raises, unless the file has its old content again
        return self._decode(shard, content, is_verified=True)

    def _decode(self, shard: Shard, content: bytes, is_verified: bool) -> Arrays:
        decode = records.parse if is_verified else records.decode
        place = files.join(self.folder, shard.name)
        columns = decode(self.manifest.record_schema, np.frombuffer(content, np.uint8), place)
        if (found := len(columns[KEY])) != shard.examples:
            said = f"{manifests.NAME} says {shard.examples:,}"
            raise WorkError(f"the shard {place} holds {counted(found, 'example')}; {said}")
        arrays: Arrays = {}
        for name, column in columns.items():
            if not isinstance(column, Ragged):
                shape = () if name == KEY else self.manifest.features[name].shape
                arrays[name] = column.reshape(-1, *shape) if shape else column
                continue
            arrays[name], arrays[name + LENGTH] = _padded(column, self.manifest.features[name], name, place)
        return arrays

    @cached_property
    def _verified(self) -> dict[str, int]:
        """The CRC-32C of each shard whose SHA-256 has been verified, by shard name."""
        return {}


def _padded(column: Ragged, spec: FeatureSpec, name: str, place: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values of a ragged feature [examples, *shape], and the steps of each example, int32 [examples].

    Raises:
        WorkError: An example has more values than the manifest says, or no whole number of steps.
    """
    lengths, step = column.lengths, math.prod(spec.shape[1:])
    if (longest := int(lengths.max(initial=0))) > spec.size:
        raise WorkError(f"the shard {place} holds {longest:,} values of {name!r}; {manifests.NAME} says {spec.size:,}")
    if (uneven := lengths % step).any():
        found = int(lengths[uneven.argmax()])
        raise WorkError(f"the shard {place} holds {found:,} values of {name!r}, which are no steps of {step:,} values")
    return column.padded(spec.size).reshape(len(column), *spec.shape), (lengths // step).astype(np.int32)


def read_shard(folder: str, shard: Shard, verify: bool = True) -> bytes:
    """Reads a shard, and checks it against the manifest.

    Raises:
        WorkError: The shard is missing, or differs from the manifest.
    """
    path = files.join(folder, shard.name)
    try:
        with files.open_within(folder, shard.name) as file:
            content = _first_bytes(file, shard.bytes + 1)
    except FileNotFoundError:
        raise WorkError(
            f"the shard {path} is missing; {manifests.NAME} lists it with {counted(shard.examples, 'example')}"
        ) from None
    if len(content) != shard.bytes:
        holds = f"more than {shard.bytes:,} bytes" if len(content) > shard.bytes else counted(len(content), "byte")
        raise WorkError(f"the shard {path} holds {holds}; {manifests.NAME} says {shard.bytes:,}")
    if verify and (found := hashlib.sha256(content).hexdigest()) != shard.sha256:
        raise WorkError(f"the shard {path} is corrupted: its SHA-256 is {found}; {manifests.NAME} says {shard.sha256}")
    return content


def _first_bytes(file: IO[bytes], most: int) -> bytes:
    """Returns the first bytes of a file. Block by block: a damaged manifest may ask for more than memory holds."""
    blocks: list[bytes] = []
    while most > 0 and (block := file.read(min(most, _BLOCK))):
        blocks.append(block)
        most -= len(block)
    return b"".join(blocks)
