"""The range of an image: one word quantises any, and what does not fit is told with the data's own range."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from pydantic import ValidationError

from elboflow.settings import WorkError, yaml_text
from preprocessing import address
from preprocessing.config import DataConfig
from preprocessing.extent import Extent
from preprocessing.features.image import LEAST_USE, ImageFeature
from preprocessing.pipeline import preprocess
from preprocessing.reader import open_dataset
from preprocessing.remarks import remarks


def config(path, image, **feature):
    """Writes images to an npz; returns the config of it."""
    np.savez(path / "raw.npz", image=image)
    kind = {"kind": "image", "shape": [*image.shape[1:], 1], "range": [0, 255], **feature}
    return DataConfig.model_validate(
        {"source": {"kind": "npz", "path": str(path / "raw.npz")}, "features": {"image": kind}}
    )


def uniform(low, high, count=200):
    return np.random.default_rng(0).uniform(low, high, (count, 4, 4))


def refusal(settings, output):
    with pytest.raises(WorkError) as caught:
        preprocess(settings, output)
    return str(caught.value)


def test_one_word_quantises_floats_of_any_range(tmp_path):
    raw = uniform(0, 255)
    made = preprocess(config(tmp_path, raw, quantise=True), tmp_path / "out")
    stored = np.concatenate([open_dataset(tmp_path / "out").read(split)["image"] for split in made.manifest.counts])
    np.testing.assert_array_equal(np.sort(stored, axis=None), np.sort(np.rint(raw), axis=None))


def test_without_the_word_floats_between_levels_are_refused_and_the_word_is_told(tmp_path):
    told = refusal(config(tmp_path, uniform(0.5, 254)), tmp_path / "out")
    assert told.endswith("not all of them whole: write quantise: true at data.features.image")


def test_the_word_leaves_explicit_levels_their_meaning():
    exact = {"shape": (4, 4, 1), "range": (0, 16), "levels": 17}
    assert ImageFeature(**exact).is_exact
    assert not ImageFeature(**exact, quantise=True).is_exact
    assert ImageFeature(**exact, quantise=True).levels == 17
    assert ImageFeature(shape=(4, 4, 1), range=(0, 16), quantise=True).levels == 256


@pytest.mark.parametrize("quantise", [True, False])
@pytest.mark.parametrize("value_range", [(0, 255), (0, 16), (-1, 1), (0, 1), (-0.5, 3)])
def test_a_feature_survives_being_written_and_read(quantise, value_range):
    feature = ImageFeature(shape=(4, 4, 1), range=value_range, quantise=quantise)
    assert ImageFeature.model_validate(feature.model_dump(mode="json")) == feature
    assert ImageFeature.model_validate_json(feature.model_dump_json()) == feature


def test_the_address_of_a_dataset_that_does_not_quantise_does_not_know_the_word(tmp_path):
    plain, quantised = config(tmp_path, uniform(0, 1)), config(tmp_path, uniform(0, 1), quantise=True)
    assert "quantise" not in plain.model_dump_json()
    assert address.digest(plain, "f" * 64) != address.digest(quantised, "f" * 64)
    assert address.former_digest(plain, "f" * 64) != address.former_digest(quantised, "f" * 64)


def test_what_lies_outside_is_told_with_the_range_of_all_the_data_and_what_to_write(tmp_path):
    raw = uniform(-0.5, 0.5, count=60_000)  # several batches, of which the first does not hold the extremes
    raw[0, 0, 0], raw[-1, 0, 0], raw[-2, 0, 0] = -0.6, 1.0, -0.98
    told = refusal(config(tmp_path, raw), tmp_path / "out")
    assert "example 0 has the value -0.6 in its feature 'image'; data.features.image.range allows 0 to 255" in told
    assert "the values lie between -0.98 and 1, not all of them whole: write range: [-1, 1]" in told
    preprocess(config(tmp_path, raw, range=[-1, 1]), tmp_path / "out")


numbers = st.one_of(
    st.floats(-1e299, 1e299),
    st.floats(-1000, 1000),
    st.integers(-(10**6), 10**6).map(float),
    st.sampled_from([0.0, 1.0, -1.0, 255.0, 5e-324, 1e-320]),
)
pairs = st.one_of(
    st.tuples(numbers, numbers),
    st.tuples(numbers, st.floats(0, 2)).map(lambda near: (near[0], near[0] + near[1])),
)


@trying(max_examples=500, deadline=None)
@given(pair=pairs, whole=st.booleans(), allowed=st.sampled_from([(0, 255), (0, 1), (-1, 1), (0, 16), (-9e5, 9e5)]))
def test_a_feature_with_what_is_advised_takes_the_values(pair, whole, allowed):
    low, high = sorted(pair)
    whole = whole and low.is_integer() and high.is_integer()
    found = Extent(low=low, high=high, whole=whole)
    feature = ImageFeature(shape=(1, 1, 1), range=allowed)
    fits = allowed[0] <= low and high <= allowed[1] and feature.use_of(found) >= LEAST_USE
    if low == high or (fits and (whole or not feature.is_exact)):
        return
    told = feature.advice("image", found).removeprefix("write ").removesuffix(" at data.features.image")
    written = yaml_text.read("{" + told + "}").value
    advised = ImageFeature.model_validate({**feature.model_dump(exclude={"levels"}), **written})
    assert advised.range[0] <= low <= high <= advised.range[1]
    assert whole or not advised.is_exact
    assert advised.use_of(found) >= LEAST_USE


def test_numbers_that_no_range_holds_are_told():
    found = Extent(low=-1e308, high=1e308, whole=True)
    assert "scale them first" in ImageFeature(shape=(1, 1, 1), range=(0, 1)).advice("image", found)


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ({}, "the train split uses 0.4% of data.features.image.range, [0, 255]: the values lie between 0 and 1; write"),
        ({"range": [-12, 12]}, "uses 4.2% of data.features.image.range, [-12, 12]"),
        ({"range": [0, 10.01]}, "uses 10.0% of data.features.image.range, [0, 10.01]"),
    ],
)
def test_a_train_split_that_uses_less_than_a_tenth_of_its_range_warns(tmp_path, caplog, feature, expected):
    raw = (uniform(0, 1) > 0.5).astype(np.float32)
    with caplog.at_level(logging.WARNING, "elboflow.preprocessing"):
        made = preprocess(config(tmp_path, raw, **feature), tmp_path / "out")
        preprocess(config(tmp_path, raw, **feature), tmp_path / "out")  # is reused, and warns again
    assert expected in caplog.messages[0]
    assert caplog.messages[0].endswith("write range: [0, 1] at data.features.image")
    assert caplog.messages == list(remarks(made.manifest)) * 2


@pytest.mark.parametrize("feature", [{"range": [0, 1]}, {"range": [0, 9]}, {"range": [-1, 1]}])
def test_a_train_split_that_uses_a_tenth_does_not(tmp_path, caplog, feature):
    raw = (uniform(0, 1) > 0.5).astype(np.float32)
    with caplog.at_level(logging.WARNING, "elboflow.preprocessing"):
        made = preprocess(config(tmp_path, raw, **feature), tmp_path / "out").manifest
    assert caplog.messages == []
    assert made.summaries["image"]["train"]["raw"] == [0, 1]


def test_a_range_too_wide_to_tell_any_images_apart_is_told_where_the_splits_come_out_empty(tmp_path):
    told = refusal(config(tmp_path, uniform(0, 0.4), quantise=True), tmp_path / "out")
    assert "200 examples, which are 1 distinct: examples with the same image are always in one split" in told
    assert told.endswith(
        "between 7.6e-05 and 0.3998, not all of them whole: write range: [0, 0.4] at data.features.image"
    )


@pytest.mark.parametrize("value_range", [[0, 10**400], [-1e308, 1e308], [0, 1e301], [1, 1], [2, 1]])
def test_an_impossible_range_is_refused(value_range):
    with pytest.raises(ValidationError, match="range is"):
        ImageFeature.model_validate({"shape": [1, 1, 1], "range": value_range})
