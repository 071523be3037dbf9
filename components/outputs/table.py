"""A .csv file: a column for each number or class; columns of originals begin with `original_`."""

import csv
import io
from collections.abc import Mapping

import numpy as np

from components.outputs.arrays import named
from elboflow.artifacts.spec import FeatureSpec

SUFFIX = ".csv"


def fits(specs: Mapping[str, FeatureSpec]) -> bool:
    """Whether each of these features is a scalar."""
    return all(not spec.shape for spec in specs.values())


def content(specs: Mapping[str, FeatureSpec], sets: Mapping[str, Mapping[str, np.ndarray]]) -> bytes:
    """Returns a table in UTF-8, with the names of classes if they have names."""
    columns = {name: values.tolist() for name, (_, values) in named(sets).items()}
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()
