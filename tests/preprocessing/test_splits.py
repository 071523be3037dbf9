"""Splits are a function of an example's content alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing import splits

IMAGES = st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=50)
FRACTIONS = {"train": 0.6, "validation": 0.3, "test": 0.1}


def split_of(images: list[bytes]) -> list[str]:
    codes = np.frombuffer(b"".join(images), np.uint8).reshape(-1, 4)
    numbers, names = splits.assign(splits.keys([codes]), FRACTIONS)
    return [names[number] for number in numbers]


@settings(deadline=None)
@given(IMAGES, IMAGES)
def test_an_example_keeps_its_split_when_more_data_arrive(before, after):
    assert split_of(after + before + after)[len(after) : len(after) + len(before)] == split_of(before)


@settings(deadline=None)
@given(IMAGES)
def test_the_same_image_is_always_in_the_same_split(images):
    found: dict[bytes, str] = {}
    for image, split in zip(images + images[::-1], split_of(images + images[::-1]), strict=True):
        assert found.setdefault(image, split) == split


def test_the_order_of_the_splits_in_the_config_is_no_matter():
    keys = splits.keys([np.arange(4000, dtype=np.uint16).view(np.uint8).reshape(-1, 2)])
    numbers, names = splits.assign(keys, FRACTIONS)
    again, names_again = splits.assign(keys, dict(reversed(FRACTIONS.items())))
    assert names == names_again
    assert np.array_equal(numbers, again)


def test_splits_have_the_sizes_of_their_fractions_and_shards_are_even():
    keys = splits.keys([np.arange(40_000, dtype=np.uint32).view(np.uint8).reshape(-1, 4)])
    numbers, names = splits.assign(keys, FRACTIONS)
    for number, name in enumerate(names):
        share = (numbers == number).mean()
        assert abs(share - FRACTIONS[name]) < 4 * np.sqrt(FRACTIONS[name] / 40_000)
    counts = np.bincount(splits.shards(keys[numbers == 1], np.full((numbers == 1).sum(), 4)))
    assert len(counts) == 4
    assert counts.min() > 0.95 * counts.max()


def test_keys_are_positive_and_take_nine_bytes_as_varints():
    keys = splits.keys([np.arange(1000, dtype=np.uint32).view(np.uint8).reshape(-1, 4)])
    assert keys.dtype == np.int64
    assert keys.min() >= 2**62
    assert len(set(keys.tolist())) == 1000


def test_a_key_stays_what_it_is_from_version_to_version():
    codes = np.arange(8, dtype=np.uint8).reshape(2, 4)
    keys = splits.keys([codes])
    assert keys.tolist() == [6397731532475959802, 7645275332802961858]
    assert splits.uniform(keys, b"split").tolist() == [0.4237806290726095, 0.5091594358915504]
