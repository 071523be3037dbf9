"""Summaries merge to the same result in any order and grouping, and are those of all values."""

import json
from functools import reduce

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.features import Feature
from preprocessing.records import Ragged
from preprocessing.sums import byte_counts, exact_sum, exact_sum_of_squares

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


def ragged(rows):
    return Ragged(np.array([code for row in rows for code in row], np.int64), np.cumsum([0, *map(len, rows)]))


CASES = {
    "number": (
        Feature.parse("number").fitted(None, "x"),
        st.lists(FLOATS, min_size=1, max_size=6),
        lambda values: np.array(values, np.float32),
    ),
    "category": (
        Feature.parse("category").fitted(None, "x"),
        st.lists(st.integers(0, 9), min_size=1, max_size=6),
        lambda values: np.array(values, np.int64),
    ),
    "image": (
        Feature.parse({"kind": "image", "shape": [1, 3, 1], "range": [0, 255]}).fitted(None, "x"),
        st.lists(st.lists(st.integers(0, 255), min_size=3, max_size=3), min_size=1, max_size=6),
        lambda values: np.array(values, np.uint8),
    ),
    "tokens": (
        Feature.parse({"kind": "tokens", "unit": "bytes"}),
        st.lists(st.lists(st.integers(0, 255), min_size=1, max_size=9), min_size=1, max_size=6),
        ragged,
    ),
}


@pytest.mark.parametrize("kind", CASES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_statistics_merge_exactly_in_any_order_and_grouping(kind, data):
    fitted, values, stored = CASES[kind]
    if isinstance(fitted, Feature):
        fitted = fitted.fitted(fitted.look(fitted.read(pa.array(["a"]), "x")), "x")
    parts = data.draw(st.lists(values, min_size=1, max_size=5))
    found = [fitted.statistics(stored(part)) for part in parts]
    whole = fitted.statistics(stored([value for part in parts for value in part]))
    shuffled = data.draw(st.permutations(found))
    cut = data.draw(st.integers(1, len(found)))
    left = reduce(lambda one, other: one.merged(other), shuffled[:cut])
    merged = reduce(lambda one, other: other.merged(one), [left, *shuffled[cut:]])
    assert merged == whole
    assert type(whole).model_validate_json(whole.model_dump_json()) == whole
    assert json.loads(json.dumps(fitted.kept(merged, None))) == fitted.kept(whole, None)


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.lists(TEXTS, min_size=1, max_size=5), min_size=1, max_size=5), data=st.data())
@pytest.mark.parametrize("kind", ["tokens", "category"])
def test_looks_merge_in_any_order(kind, parts, data):
    feature = Feature.parse(kind)

    def look(texts):
        return feature.look(feature.read(pa.array(texts, pa.string()), "x"))

    merged = reduce(lambda one, other: one.merged(other), map(look, data.draw(st.permutations(parts))))
    assert merged == look([text for part in parts for text in part])
    assert type(merged).model_validate_json(merged.model_dump_json()) == merged


@settings(max_examples=200, deadline=None)
@given(st.lists(FLOATS, max_size=40))
def test_sums_are_exact(values):
    numbers = np.array(values, np.float32)
    whole = [int(float(value) * 2**149) if abs(value) < 2**800 else 0 for value in numbers.astype(np.float64)]
    assert exact_sum(numbers) == sum(whole)
    assert exact_sum_of_squares(numbers) == sum(value * value for value in whole)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_are_counted(content):
    rows = np.frombuffer(content, np.uint8).reshape(-1, 1 if len(content) % 3 else 3)
    assert byte_counts(rows).tolist() == [content.count(bytes([value])) for value in range(256)]
