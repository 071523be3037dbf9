"""A `dataset.json` whose checksum is right and whose claims are not those of its shards."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elboflow.artifacts import manifest as manifests
from elboflow.settings import WorkError
from preprocessing.reader import open_dataset

DATASET = Path(__file__).parents[1] / "formats/98a35c2/dataset"

Facts = dict[str, Any]


def shape(*sizes: int) -> Callable[[Facts], None]:
    return lambda facts: facts["features"]["image"].update(shape=list(sizes))


def in_test(examples: int, **shard: Any) -> Callable[[Facts], None]:
    def change(facts: Facts) -> None:
        facts["counts"]["test"] = examples
        facts["shards"]["test"][0].update(examples=examples, **shard)

    return change


def no_shards(facts: Facts) -> None:
    facts["counts"]["test"], facts["shards"]["test"] = 0, []


CLAIMS: dict[str, tuple[Callable[[Facts], None], str]] = {
    "images of 4 exabytes": (shape(2**31, 2**31, 1), r"the 4,590 bytes of test-0.* cannot hold its examples"),
    "images of 1 gigabyte": (shape(2**20, 2**10, 1), r"the 4,590 bytes of test-0.* cannot hold its examples"),
    "smaller images": (shape(4, 4, 1), "record 0 has no value of the expected size for the feature 'image'"),
    "images without size": (shape(8, 0, 1), r"features\.image\.shape\.1: 0 is not allowed"),
    "negative images": (shape(-8, -8, 1), r"features\.image\.shape\.0: -8 is not allowed"),
    "no features": (lambda facts: facts.update(features={}), "record 0 has a feature 'image', which its dataset"),
    "a feature that steers the screen": (
        lambda facts: facts["features"].update({"\x1b[2J": facts["features"].pop("ink")}), r"'\\x1b\[2J' is not allowed"
    ),
    "another kind": (lambda facts: facts["features"].update(label=facts["features"]["ink"]), "the feature 'label'"),
    "no shards": (no_shards, r"shards\.test: \[\] is not allowed; must have at least 1"),
    "fewer examples": (in_test(3), r"test-0.* holds 30 examples; dataset\.json says 3"),
    "more examples": (in_test(31), r"test-0.* holds 30 examples; dataset\.json says 31"),
    "examples without end": (in_test(10**15), r"the 4,590 bytes of test-0.* cannot hold its examples"),
    "a shard without end": (in_test(30, bytes=2**62), r"test-0.* holds 4,590 bytes; dataset\.json says 4,611,686"),
    "other counts": (lambda facts: facts["counts"].update(test=29), "`counts` is .*'test': 29.*, and the shards hold"),
}  # fmt: skip


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_that_the_shards_do_not_bear_out_is_one_sentence(claim: str, tmp_path: Path) -> None:
    place = shutil.copytree(DATASET, tmp_path / "dataset")
    facts = json.loads((place / "dataset.json").read_text(encoding="utf-8"))
    change, told = CLAIMS[claim]
    change(facts)
    (place / "dataset.json").write_text(manifests.sealed({**facts, "format": 2}), encoding="utf-8")
    with pytest.raises(WorkError, match=told) as refused:
        open_dataset(place).read("test")
    assert str(refused.value).isprintable()


def test_many_records_of_images_that_a_few_bytes_cannot_hold_take_no_memory(tmp_path: Path) -> None:
    """One example of as many codes as the shard has bytes: every one of its 30 records would be of that size."""
    place = shutil.copytree(DATASET, tmp_path / "dataset")
    facts = json.loads((place / "dataset.json").read_text(encoding="utf-8"))
    shape(4586, 1, 1)(facts)  # besides a number of four bytes
    for split in facts["counts"]:
        facts["counts"][split] = 1
        facts["shards"][split][0]["examples"] = 1
    facts["shards"]["validation"][0]["bytes"] = 4590
    (place / "dataset.json").write_text(manifests.sealed({**facts, "format": 2}), encoding="utf-8")
    with pytest.raises(WorkError, match="30 records with 4,590 bytes of values are more than it is"):
        open_dataset(place).read("test")
