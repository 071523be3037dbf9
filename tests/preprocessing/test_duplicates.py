"""Examples with one image are counted, kept together, and told."""

import logging
from pathlib import Path

import numpy as np
import pytest

from elboflow.settings import WorkError
from preprocessing.pipeline import preprocess
from preprocessing.reader import open_dataset
from preprocessing.remarks import remarks
from tests.preprocessing.raw_files import config, examples


def repeated(folder, distinct, copies):
    """Writes an npz of images, each of them several times with different labels; returns the config of it."""
    images, _ = examples(distinct)
    order = np.random.default_rng(5).permutation(np.repeat(np.arange(distinct), copies))
    np.savez(folder / "raw.npz", image=images[order], label=np.arange(len(order)) % 3)
    return config({"kind": "npz", "path": str(folder / "raw.npz")}, shards={"megabytes": 0.005})


def test_distinct_examples_are_counted_by_split_and_duplicates_are_told(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "elboflow.preprocessing"):
        made = preprocess(repeated(tmp_path, 60, 3), tmp_path / "out").manifest
    dataset = open_dataset(tmp_path / "out")
    keys = {split: dataset.read(split)["key"] for split in made.counts}
    assert made.distinct == {split: len(np.unique(found)) for split, found in keys.items()}
    assert made.distinct == {split: count // 3 for split, count in made.counts.items()}
    by_split = ", ".join(f"{split} {count * 2 // 3}" for split, count in made.counts.items())
    assert f", 0 rejected, 120 duplicates ({by_split}) in" in caplog.messages[-1]


def test_nothing_is_told_of_duplicates_where_there_are_none(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "elboflow.preprocessing"):
        made = preprocess(repeated(tmp_path, 60, 1), tmp_path / "out").manifest
    assert made.distinct == made.counts
    assert "duplicate" not in caplog.text


def test_a_dataset_of_before_they_were_counted_is_read_and_says_that_it_does_not_know():
    manifest = open_dataset(Path(__file__).parents[1] / "formats/98a35c2/dataset").manifest
    assert (manifest.distinct, manifest.summaries["image"]["train"].get("raw")) == (None, None)
    assert remarks(manifest) == ()  # its train split uses its range, as its codes tell


def test_a_split_that_is_empty_because_all_examples_are_copies_says_so(tmp_path):
    with pytest.raises(WorkError, match="300 examples, which are 1 distinct: examples with the same image are always"):
        preprocess(repeated(tmp_path, 1, 300), tmp_path / "out")
