"""`data.limit`: the first examples of each part of a source, and nothing behind them."""

from pathlib import Path

import numpy as np
import pytest

from preprocessing.config import DataConfig
from preprocessing.pipeline import dataset_digest, preprocess
from preprocessing.reader import open_dataset
from preprocessing.sources import open_source
from tests.preprocessing.raw_files import config, examples, mnist_folder

HALVES = {"train": 0.5, "validation": 0.5}


@pytest.mark.parametrize("packed", [False, True])
def test_each_part_of_a_source_gives_its_first_examples(packed: bool, tmp_path: Path):
    images, labels = examples(500)
    folder = mnist_folder(tmp_path, images, labels, packed=packed)
    mnist_folder(tmp_path, images[::-1], labels[::-1], "t10k", packed=packed)
    limited = config({"kind": "idx", "path": str(folder)}, limit=40, splits={**HALVES, "test": "source"})
    assert preprocess(limited, tmp_path / "out").manifest.counts["test"] == 40
    dataset = open_dataset(tmp_path / "out")
    of_main = np.concatenate([dataset.read(split)["image"] for split in HALVES]).reshape(40, -1)
    assert sorted(map(bytes, of_main)) == sorted(map(bytes, images[:40].reshape(40, -1)))
    of_test = dataset.read("test")["image"].reshape(40, -1)
    assert sorted(map(bytes, of_test)) == sorted(map(bytes, images[::-1][:40].reshape(40, -1)))


def table(path: Path, rows: list[str], limit: int = 10) -> DataConfig:
    path.write_text("a,b\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return DataConfig.model_validate(
        {
            "source": {"kind": "csv", "path": str(path)},
            "features": {"a": "number", "b": {"kind": "category"}},
            "splits": {"train": 0.5, "validation": 0.5},
            "max_reject_fraction": 0.5,
            "limit": limit,
        }
    )


def test_a_row_that_cannot_be_read_counts_among_the_first_and_one_behind_them_does_not(tmp_path: Path):
    rows = [f"{number},{'xyz'[number % 3]}" for number in range(30)]
    rows[3], rows[5], rows[20] = "3,x,too many", "five,y", "20,x,too many"
    made = preprocess(table(tmp_path / "t.csv", rows), tmp_path / "out").manifest
    assert sum(made.counts.values()) == 8
    assert sum(made.rejected.values()) == 2


def test_what_comes_behind_the_first_examples_does_not_change_the_dataset(tmp_path: Path):
    rows = [f"{number},{'xyz'[number % 3]}" for number in range(30)]
    first = dataset_digest(table(tmp_path / "t.csv", rows))
    assert dataset_digest(table(tmp_path / "t.csv", [*rows[:10], "7,", "other,b"])) == first
    assert dataset_digest(table(tmp_path / "t.csv", [*rows[:9], "99,z"])) != first
    assert dataset_digest(table(tmp_path / "t.csv", rows, limit=9)) != first


def test_a_limit_beyond_the_source_reads_all_of_it(tmp_path: Path):
    rows = [f"{number},{'xyz'[number % 3]}" for number in range(30)]
    made = preprocess(table(tmp_path / "t.csv", rows, limit=1000), tmp_path / "out").manifest
    assert sum(made.counts.values()) == 30


def test_an_experiment_without_a_limit_keeps_its_digest_and_its_source():
    plain = DataConfig.model_validate({"source": "sklearn"})
    assert "limit" not in plain.model_dump()
    assert open_source(plain) == plain.source.open(plain.features)
