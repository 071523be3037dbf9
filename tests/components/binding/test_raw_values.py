"""Raw values of a client become the examples that preprocessing makes of them: the same values under the same keys."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.binding import raw_values
from components.preprocess import preprocess
from elboflow.settings import RequestError
from elboflow.vae.data import Examples
from preprocessing.config import DataConfig
from preprocessing.reader import Dataset, open_dataset

RANDOM = np.random.default_rng(0)
IMAGE = {"kind": "image", "shape": [3, 2, 1], "range": [-1, 1], "levels": 32}
ROWS: dict[str, list[Any]] = {
    "image": RANDOM.uniform(-1, 1, (300, 3, 2)).tolist(),
    "text": [f"{n} é{'€' * (n % 9)}{chr(0x4E00 + n)}" for n in range(300)],
    "size": [n / 7 for n in range(300)],
    "grade": [n % 5 for n in range(300)],
    "animal": [f"år {n % 80}" for n in range(300)],
}
FEATURES: dict[str, Any] = {
    "image": IMAGE,
    "text": "tokens",
    "size": "number",
    "grade": "category",
    "animal": "category",
}


def made(folder: Path, features: dict[str, Any], **settings: Any) -> Dataset:
    """Makes a dataset of these features of the rows."""
    lines = [json.dumps({name: ROWS[name][n] for name in features}) for n in range(300)]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    source = {"kind": "jsonl", "path": str(folder / "rows.jsonl")}
    preprocess(DataConfig.model_validate({"source": source, "features": features, **settings}), folder / "dataset")
    return open_dataset(folder / "dataset")


@pytest.mark.parametrize(
    "names",
    [
        ["image"],
        ["text"],
        ["size"],
        ["animal"],
        ["size", "grade", "animal"],
        ["text", "image"],
        ["image", "grade"],
        ["size", "text"],
    ],
    ids="+".join,
)
def test_keys_and_values_of_raw_examples_are_those_of_the_dataset(names: list[str], tmp_path: Path) -> None:
    dataset = made(tmp_path, {name: FEATURES[name] for name in names})
    specs = {name: dataset.manifest.features[name] for name in names}
    found = raw_values.examples(specs, {name: ROWS[name] for name in names})
    assert len(set(found.keys.tolist())) == len({json.dumps([ROWS[name][n] for name in names]) for n in range(300)})
    place = {int(key): n for n, key in enumerate(found.keys)}
    for split in dataset.manifest.counts:
        arrays = dataset.read(split)
        rows = [place[int(key)] for key in arrays["key"]]
        for name, values in found.features.items():
            np.testing.assert_array_equal(values[rows], arrays[name])


def test_what_a_dataset_holds_is_taken_again_as_raw_values(tmp_path: Path) -> None:
    dataset = made(tmp_path, FEATURES)
    specs, arrays = dataset.manifest.features, dataset.read("test")
    examples = Examples({name: values for name, values in arrays.items() if name != "key"}, arrays["key"])
    columns = {name: raw_values.raw_of(name, spec, examples) for name, spec in specs.items()}
    assert set(columns["animal"]) <= set(ROWS["animal"])
    table = pd.DataFrame({name: list(values) for name, values in columns.items()})
    found = raw_values.examples(specs, {name: table[name].to_numpy() for name in specs})
    for name, values in examples.features.items():
        np.testing.assert_array_equal(found.features[name], values)


def test_the_class_that_stands_for_others_does_not_make_examples_the_same(tmp_path: Path) -> None:
    other = {"kind": "category", "unknown": "other"}
    dataset = made(tmp_path, {"animal": other, "grade": other}, identity=["animal", "grade"])
    specs = {name: dataset.manifest.features[name] for name in ("animal", "grade")}
    found = raw_values.examples(specs, {"animal": ["cat", "dog", "år 1"], "grade": [70, 71, 1]})
    assert found.features["animal"].tolist()[0] == found.features["animal"].tolist()[1]
    assert len(set(found.keys.tolist())) == 3


def test_features_of_different_numbers_of_examples_are_refused(tmp_path: Path) -> None:
    specs = made(tmp_path, {name: FEATURES[name] for name in ("size", "grade")}).manifest.features
    with pytest.raises(RequestError, match=r"different numbers of examples: \{'grade': 1, 'size': 2\}"):
        raw_values.examples(specs, {"size": [1, 2], "grade": [1]})
    with pytest.raises(RequestError, match="the model takes grade, size; there is no 'size'"):
        raw_values.examples(specs, {"grade": [1]})
