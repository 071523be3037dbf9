"""Files of what a model makes."""

import io

import numpy as np

from components.outputs import arrays, table
from elboflow.artifacts.spec import FeatureSpec
from preprocessing.features.category import CategoryFeature

LABEL = FeatureSpec(kind="category", dtype="int64", levels=2, facts={"names": ["ape", "bee, or so"]})
SIZE = FeatureSpec(kind="number", dtype="float32")


def test_a_class_that_has_a_name_stands_by_its_name_in_every_file() -> None:
    names = CategoryFeature.raw("label", LABEL, {"label": np.array([1, 0], np.int32)})
    made = {"": {"size": np.array([0.5, 2], np.float32), "label": names}}
    specs = {"size": SIZE, "label": LABEL}
    assert table.content(specs, made).decode().splitlines() == ["size,label", '0.5,"bee, or so"', "2.0,ape"]
    with np.load(io.BytesIO(arrays.content(specs, made)), allow_pickle=False) as found:
        assert found["label"].tolist() == ["bee, or so", "ape"]
        assert found["size"].tolist() == [0.5, 2]
