"""Writing a shard: a worker reads its encoded records, sorts them by key, writes the file, and computes statistics."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np

from elboflow.settings import WorkError
from preprocessing import files, records
from preprocessing.background import Writer
from preprocessing.plan import Plan
from preprocessing.report import Report, WrittenShard
from preprocessing.sums import exact_sum

Encoded = tuple[bytes, bytes, str, int]
"""Some records of one shard: keys as int64 bytes, lengths as int64 bytes, the file with the records, the offset there.

Empty lengths mean held-out keys: records with such a key are left out of the shard."""


class WriteShard(beam.DoFn):
    """(destination, encoded records) → a shard file, and its report in JSON."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def process(self, shard: tuple[int, Iterable[Encoded]]) -> Iterator[bytes]:
        """Writes the records of a shard in the order of their keys."""
        split, number = self.plan.destinations[shard[0]]
        found = [encoded for encoded in shard[1] if encoded[1]]
        refused = _joined([keys for keys, lengths, _, _ in shard[1] if not lengths])
        keys, lengths = _joined([encoded[0] for encoded in found]), _joined([encoded[1] for encoded in found])
        kept = np.flatnonzero(~np.isin(keys, refused))
        leaked = len(keys) - len(kept)
        if not len(kept):
            yield Report(leaked=leaked).to_json()
            return
        path = files.join(self.plan.folder, f"{split}-{number:05d}")
        try:
            with Writer() as writer:
                content = _sorted(records.Records(_fetched(found), lengths), keys, kept).data
                writer.write(path, content.data)
                sha256 = writer.sha256(content.data)
                columns = records.parse(self.plan.schema, content, path)
                ordered = keys[kept]
                ordered.sort()
                written = WrittenShard(
                    split=split,
                    number=number,
                    name=path,
                    examples=len(ordered),
                    distinct=1 + int((ordered[1:] != ordered[:-1]).sum()),  # `ordered` is sorted
                    bytes=len(content),
                    statistics={
                        name: fitted.statistics(columns[name]).model_dump(mode="json")
                        for name, fitted in self.plan.fitted.items()
                        if split == "train" or not fitted.train_only
                    },
                    class_sums=self._class_sums(columns),
                    sha256=sha256.result(),  # waited for last: a thread computes it during the statistics
                )
            yield Report(shards=[written], leaked=leaked).to_json()
        except WorkError as error:
            yield Report(problems=[str(error)]).to_json()

    def _class_sums(self, columns: Mapping[str, Any]) -> dict[str, dict[str, dict[int, tuple[int, int]]]]:
        by_role: dict[str | None, list[str]] = {"amount": [], "class": []}
        for name, fitted in self.plan.fitted.items():
            by_role.setdefault(fitted.role, []).append(name)
        return {
            amount: {category: _sums(columns[amount], columns[category]) for category in by_role["class"]}
            for amount in by_role["amount"]
        }


def _fetched(found: list[Encoded]) -> np.ndarray:
    """Returns the concatenated records of these elements, read from their files, uint8 [bytes]."""
    sizes = [int(np.frombuffer(lengths, np.int64).sum()) for _, lengths, _, _ in found]
    content = np.empty(sum(sizes), np.uint8)
    at = 0
    for (_, _, path, start), size in zip(found, sizes, strict=True):
        with files.open_to_read(path) as file:
            file.seek(start)
            at += file.readinto(content[at : at + size].data)
    return content


def _joined(pieces: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(pieces), np.int64)


def _sorted(unsorted: records.Records, keys: np.ndarray, rows: np.ndarray) -> records.Records:
    """Returns these rows of the records, sorted by key, and by content among equal keys."""
    order = rows[np.argsort(keys[rows], kind="stable")]
    result = unsorted.reordered(order)
    ordered = keys[order]
    if not (ordered[1:] == ordered[:-1]).any():
        return result
    ends = np.cumsum(result.lengths)
    content = [result.data[end - length : end].tobytes() for end, length in zip(ends, result.lengths, strict=True)]
    again = np.array(sorted(range(len(order)), key=lambda row: (ordered[row], content[row])))
    return result.reordered(again)


def _sums(values: np.ndarray, classes: np.ndarray) -> dict[int, tuple[int, int]]:
    """Returns the number of values of each class, and their exact sum."""
    order = np.argsort(classes, kind="stable")
    names, first = np.unique(classes[order], return_index=True)
    groups = np.split(values[order], first[1:])
    return {name: (len(group), exact_sum(group)) for name, group in zip(names.tolist(), groups, strict=True)}
