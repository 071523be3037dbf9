"""Labels that are text are classes with names."""

import numpy as np
import pytest

from elboflow.settings import WorkError
from preprocessing.config import DataConfig
from preprocessing.manifest import Manifest
from preprocessing.pipeline import preprocess
from preprocessing.reader import open_dataset

NAMES = np.array(["fox", "ape", "Zebra", "år"])


def written(folder, label, feature="category", **more):
    """Writes random images with these labels to an npz; returns the config of it."""
    image = np.random.default_rng(0).integers(0, 256, (len(label), 4, 4))
    np.savez(folder / "raw.npz", image=image, label=label, **more)
    source = {"kind": "npz", "path": str(folder / "raw.npz")}
    if more:
        source["held_out"] = {"image": "held_out_image", "label": "held_out_label"}
    features = {"image": {"kind": "image", "shape": [4, 4, 1], "range": [0, 255]}, "label": feature}
    return DataConfig.model_validate({"source": source, "features": features})


def chosen(count=200):
    return NAMES[np.random.default_rng(1).integers(0, len(NAMES), count)]


@pytest.mark.parametrize(
    "encode",
    [
        np.asarray,
        lambda text: np.char.encode(text, "utf-8"),
        lambda text: text.astype(">U9"),
        lambda text: text[:, None],
    ],
    ids=["text", "bytes", "text of another byte order", "a column"],
)
def test_each_name_becomes_its_place_among_the_sorted_names(tmp_path, encode):
    labels = chosen()
    made = preprocess(written(tmp_path, encode(labels)), tmp_path / "out").manifest
    assert made.features["label"].facts == {"classes": [0, 1, 2, 3], "names": ["Zebra", "ape", "fox", "år"]}
    assert Manifest.model_validate_json(made.model_dump_json()) == made
    dataset = open_dataset(tmp_path / "out")
    images = np.load(tmp_path / "raw.npz")["image"].astype(np.uint8)
    name_of = {image.tobytes(): name for image, name in zip(images, labels, strict=True)}
    for split in made.counts:
        arrays = dataset.read(split)
        for image, label in zip(arrays["image"], arrays["label"], strict=True):
            assert made.features["label"].facts["names"][label] == name_of[image.tobytes()]


def test_names_are_those_of_all_parts_of_the_source(tmp_path):
    image = np.random.default_rng(2).integers(0, 256, (3, 4, 4))
    settings = written(tmp_path, chosen(), held_out_image=image, held_out_label=np.array(["bee", "ape", "bee"]))
    made = preprocess(settings, tmp_path / "out").manifest
    assert made.features["label"].facts["names"] == ["Zebra", "ape", "bee", "fox", "år"]
    assert sum(made.class_counts("label", split).get(2, 0) for split in made.counts) == 2


def test_numbers_have_no_names(tmp_path):
    made = preprocess(written(tmp_path, np.arange(200) % 3), tmp_path / "out").manifest
    assert made.features["label"].facts == {"classes": [0, 1, 2]}


def test_true_and_false_are_classes(tmp_path):
    made = preprocess(written(tmp_path, np.arange(200) % 3 == 0), tmp_path / "out").manifest
    assert made.features["label"].facts["classes"] == [0, 1]


NO_UNICODE = "raw.npz[label]: example 7 does not fit in its feature 'label'; text that is no Unicode"


def with_code_point(point: int, order: str = "<") -> np.ndarray:
    """Labels of text, one of which holds this code point, as a damaged file may."""
    points = np.array([ord("a"), ord("b")] * 50, f"{order}u4")
    points[[7, 9]] = point
    return points.view(f"{order}U1")


@pytest.mark.parametrize(
    ("label", "feature", "expected"),
    [
        (chosen(), {"kind": "category", "classes": 3}, "'label' names 4 classes; data.features.label.classes allows 3"),
        (chosen(), "number", "raw.npz[label]: the feature 'label' is text (string); a number is one per example"),
        (
            np.array([b"\xff", b"a"] * 50),
            "category",
            "raw.npz[label]: example 0 does not fit in its feature 'label'; bytes that are no UTF-8",
        ),
        (with_code_point(0x7FFFFFFF), "category", NO_UNICODE),
        (with_code_point(0xD800), "category", NO_UNICODE),
        (with_code_point(0xDFFF, ">"), "category", NO_UNICODE),
        (np.eye(100), "category", "raw.npz[label]: the feature 'label' is float64 of shape [100]; a category is one"),
        (
            np.arange(100).astype("M8[D]"),
            "category",
            "raw.npz[label]: the feature 'label' is dates (datetime64[D]); numbers",
        ),
        (np.arange(100) * 1j, "category", "raw.npz[label]: the feature 'label' is complex numbers (complex128)"),
    ],
    ids=[
        *("more names than classes", "text for a number", "bytes that are no text", "beyond Unicode", "half of a pair"),
        *("the other half, big-endian", "one-hot", "dates", "complex"),
    ],
)
def test_labels_of_a_wrong_type_are_told_with_their_array_and_what_is_expected(tmp_path, label, feature, expected):
    with pytest.raises(WorkError) as caught:
        preprocess(written(tmp_path, label, feature), tmp_path / "out")
    assert expected in str(caught.value)


def test_text_in_one_part_and_numbers_in_another_are_refused(tmp_path):
    image = np.random.default_rng(2).integers(0, 256, (3, 4, 4))
    with pytest.raises(WorkError, match=r"the feature 'label' is numbers in one part of the source, and text"):
        preprocess(written(tmp_path, chosen(), held_out_image=image, held_out_label=np.arange(3)), tmp_path / "out")
