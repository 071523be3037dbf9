"""Records: encoding and decoding are inverse, and damage is found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elboflow.settings import WorkError
from preprocessing.records import Records, Schema, Wire, decode, encode

SCHEMA = Schema.of({"image": Wire("bytes", 6), "label": Wire("int64")})
INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 127, 128, 16383, 16384, 2**62, 2**63 - 1, -1])


def columns(keys, labels):
    images = np.random.default_rng(0).integers(0, 256, (len(keys), 6), np.uint8)
    return {"image": images, "key": np.array(keys, np.int64), "label": np.array(labels, np.int64)}


def same(left, right):
    return all(np.array_equal(left[name], right[name]) for name in right)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(INT64, INT64), min_size=1, max_size=20))
def test_decoding_gives_back_what_was_encoded(pairs):
    batch = columns([key for key, _ in pairs], [label for _, label in pairs])
    records = encode(SCHEMA, batch)
    assert same(decode(SCHEMA, records.data, "a shard"), batch)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(INT64, INT64), min_size=1, max_size=20), st.randoms())
def test_records_can_be_put_in_another_order(pairs, random):
    order = list(range(len(pairs)))
    random.shuffle(order)
    batch = columns([key for key, _ in pairs], [label for _, label in pairs])
    records = encode(SCHEMA, batch).reordered(np.array(order))
    expected = encode(SCHEMA, {name: values[order] for name, values in batch.items()})
    assert isinstance(records, Records)
    assert np.array_equal(records.data, expected.data)
    assert np.array_equal(records.lengths, expected.lengths)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(INT64, st.floats(width=32, allow_nan=False, allow_infinity=False)), min_size=1, max_size=20))
def test_numbers_come_back_bit_for_bit(pairs):
    schema = Schema.of({**SCHEMA.wires, "a": Wire("float32"), "weight": Wire("float32")})
    numbers = np.array([number for _, number in pairs], np.float32)
    batch = columns([key for key, _ in pairs], [7] * len(pairs)) | {"a": numbers[::-1], "weight": numbers}
    found = decode(schema, encode(schema, batch).data, "a shard")
    assert same(found, batch)
    assert found["weight"].dtype == np.float32
    assert found["weight"].tobytes() == numbers.tobytes()  # -0 too


def test_an_empty_file_holds_no_examples():
    assert {name: len(values) for name, values in decode(SCHEMA, np.empty(0, np.uint8), "a shard").items()} == {
        "image": 0,
        "key": 0,
        "label": 0,
    }


@pytest.mark.parametrize("labels", [[1, 2, 3], [1, 200, 70000]], ids=["one length", "several lengths"])
def test_any_flipped_bit_is_found(labels):
    data = encode(SCHEMA, columns([5, 6, 7], labels)).data
    for position in range(len(data)):
        damaged = data.copy()
        damaged[position] ^= 0x10
        with pytest.raises(WorkError, match=r"a shard: record \d"):
            decode(SCHEMA, damaged, "a shard")


def test_a_truncated_file_is_found_at_every_length():
    data = encode(SCHEMA, columns([5, 6, 7], [1, 2, 3])).data
    record = len(data) // 3
    for size in range(1, len(data)):
        if size % record:
            with pytest.raises(WorkError, match="a shard: record"):
                decode(SCHEMA, data[:size], "a shard")


def test_records_of_another_dataset_are_refused():
    data = encode(SCHEMA, columns([5], [1])).data
    with pytest.raises(WorkError, match="record 0 has no value of the expected size for the feature 'picture'"):
        decode(Schema.of({"picture": Wire("bytes", 6)}), data, "a shard")
