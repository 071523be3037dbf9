"""Odd numbers in raw data become the codes that they should, or are told in one sentence, without a traceback."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from elboflow.settings import WorkError
from preprocessing.config import DataConfig
from preprocessing.examples import examples_of
from preprocessing.pipeline import preprocess
from preprocessing.raw.arrays import batch
from preprocessing.reader import open_dataset

SIDE = 3


def config(**feature: object) -> DataConfig:
    """Returns the config of small images, classes and numbers."""
    image = {"kind": "image", "shape": [SIDE, SIDE, 1], "range": [0, 255], **feature}
    features = {"image": image, "label": "category", "weight": "number"}
    return DataConfig.model_validate({"source": {"kind": "npz", "path": "x.npz"}, "features": features})


def converted(image: np.ndarray, label: np.ndarray, weight: np.ndarray, settings: DataConfig) -> dict[str, np.ndarray]:
    """Returns what records would hold of these examples; raises the sentence of the first that does not fit."""
    values = {"image": image, "label": label, "weight": weight}
    fitted = {name: feature.fitted(None, name) for name, feature in settings.features.items()}
    places = {name: f"x.npz[{name}]" for name in values}
    read = examples_of(batch(values, places, 0), settings.features, fitted)
    for rejected in read.rejected:
        raise WorkError(str(rejected))
    return dict(read.stored)


def images(value: object, dtype: str) -> np.ndarray:
    """Returns two images of this value, made at an odd place of memory."""
    filled = np.zeros((4, SIDE, 2 * SIDE), dtype)
    filled[...] = np.asarray(value).astype(dtype)
    return filled[::2, :, ::2]


DTYPES = ["u1", "i1", "<u2", ">u2", ">i4", "<i8", ">u8", "<f2", ">f2", "<f4", ">f8", "longdouble", "?"]
LABELS, WEIGHTS = np.array([0, 1]), np.array([1.0, 2.0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value_range", [(0, 255), (0, 1), (-1, 1), (-5, 100), (0, 2**60), (1.0, 2.0)], ids=str)
def test_every_type_of_number_becomes_the_same_codes(dtype, value_range):
    settings = config(range=value_range)
    low, high = value_range
    levels = settings.features["image"].levels
    made = converted(images(1, dtype), LABELS, WEIGHTS, settings)
    assert (made["image"] == round((1 - low) / (high - low) * (levels - 1))).all()
    assert made["image"].dtype == np.uint8


@pytest.mark.parametrize("offset", [0, 2**53, 2**63 - 300, 2**63 + 1, 2**64 - 256])
def test_numbers_beyond_what_floats_tell_apart_keep_their_differences(offset):
    image = np.arange(2 * SIDE * SIDE, dtype=np.uint64).reshape(2, SIDE, SIDE) + np.uint64(offset)
    made = converted(image, LABELS, WEIGHTS, config(range=(offset, offset + 255)))
    assert made["image"].ravel().tolist() == list(range(2 * SIDE * SIDE))


@pytest.mark.parametrize(
    ("value", "dtype", "told"),
    [
        (np.nan, "<f2", "has the value nan in its feature 'image'; a finite number is expected"),
        (np.inf, ">f4", "has the value inf"),
        (-np.inf, ">f8", "has the value -inf"),
        (np.longdouble("1e4000"), "longdouble", "has the value inf"),
        (2**64 - 1, ">u8", "has the value 18446744073709551615"),
        (-(2**63), "<i8", "has the value -9223372036854775808"),
        (65504, "<f2", "has the value 65504.0"),
        (1e308, "<f8", "has the value 1e+308"),
        (5e-324, "<f8", "has the value 5e-324"),
        (-0.1, "<f4", "has the value -0.1"),
        (255.00001, "<f8", "has the value 255.00001"),
        (np.complex64(1), "c8", "is complex numbers (complex64); numbers or text are expected"),
        ("7", "<U1", "is text of shape [3, 3]; one per example is expected"),
        (0, "M8[s]", "is dates (datetime64[s]); numbers or text are expected"),
    ],
)
def test_a_value_that_is_no_image_is_told(value, dtype, told):
    with pytest.raises(WorkError) as caught:
        converted(images(value, dtype), LABELS, WEIGHTS, config())
    assert str(caught.value).startswith("x.npz[image]: ")
    assert told in str(caught.value)


@pytest.mark.parametrize("value", [-0.0, 5e-324])
def test_what_lies_between_levels_by_nothing_is_the_level(value):
    assert not converted(images(value, "<f8"), LABELS, WEIGHTS, config(quantise=True))["image"].any()


@pytest.mark.parametrize(
    ("label", "told"),
    [
        (np.array([0, 2**63], np.uint64), "example 1 has the value 9223372036854775808 in its feature 'label'"),
        (np.array([0.0, 2.0**63]), "example 1 has the value 9.223372036854775808e+18|example 1 has the value 9.2233"),
        (np.array([0, -1], np.int8), "example 1 has the value -1"),
        (np.array([0.5, 1], np.float16), "example 0 has the value 0.5"),
        (np.array([0, np.inf]), "example 1 has the value inf"),
        (np.array([0, np.nan]), "example 1 has the value nan"),
        (np.array([0, 1j]), "is complex numbers"),
        (np.zeros((2, 0)), "is lists"),
        (np.zeros((2, 2)), r"is float64 of shape \[2\]"),
    ],
    ids=["2⁶³", "2⁶³ as a float", "negative", "a half", "infinite", "not a number", "complex", "nothing", "two"],
)
def test_a_value_that_is_no_class_is_told(label, told):
    with pytest.raises(WorkError, match=rf"x\.npz\[label\]: .*({told.replace('+', '[+]')})"):
        converted(images(1, "u1"), label, WEIGHTS, config())


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (np.array([0, 2**63 - 1], np.uint64), [0, 2**63 - 1]),
        (np.array([True, False]), [1, 0]),
        (np.array([3.0, -0.0], ">f2"), [3, 0]),
        (np.array([[7], [8]], ">i2"), [7, 8]),
    ],
    ids=["2⁶³ - 1", "bools", "floats of another byte order", "a column"],
)
def test_every_type_of_whole_number_is_a_class(label, expected):
    assert converted(images(1, "u1"), label, WEIGHTS, config())["label"].tolist() == expected


@trying(max_examples=300, deadline=None)
@given(
    data=st.data(), dtype=st.sampled_from(DTYPES), value_range=st.sampled_from([(0, 255), (-1, 1), (0, 1000), (-3, 3)])
)
def test_any_numbers_become_codes_within_half_a_level_or_are_told(data, dtype, value_range):
    settings = config(range=value_range, quantise=data.draw(st.booleans()))
    image = data.draw(arrays.arrays(np.dtype(dtype), (2, SIDE, SIDE)))
    try:
        made = converted(image, LABELS, WEIGHTS, settings)["image"]
    except WorkError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert refused.startswith("x.npz[image]: example")
        return
    low, high = value_range
    half = (high - low) / (settings.features["image"].levels - 1) / 2
    raw = low + made.astype(np.float64) * 2 * half
    assert (np.abs(raw - image.reshape(2, -1).astype(np.float64)) <= half * 1.001).all()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_dataset_of_every_type_of_number_is_the_same_and_its_report_of_the_values_is_true(
    dtype, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    values = np.random.default_rng(0).integers(0, 2, (400, SIDE, SIDE))
    np.savez(tmp_path / "x.npz", image=values.astype(dtype), label=values[:, 0, 0].astype(dtype), weight=np.ones(400))
    settings = config().model_dump(mode="json")
    settings["source"]["path"] = str(tmp_path / "x.npz")
    with caplog.at_level(logging.WARNING):
        made = preprocess(DataConfig.model_validate(settings), tmp_path / "out").manifest
    assert made.summaries["image"]["train"]["raw"] == [0, 1]
    assert any("the values lie between 0 and 1; write range: [0, 1]" in message for message in caplog.messages)
    stored = np.concatenate([open_dataset(tmp_path / "out").read(split)["image"] for split in made.counts])
    as_sets = [sorted(image.tobytes() for image in part.astype(np.uint8)) for part in (stored, values)]
    assert as_sets[0] == as_sets[1]
