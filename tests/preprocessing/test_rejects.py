"""Examples that do not fit: left out and listed up to a fraction, and an error beyond it."""

import json

import numpy as np
import pytest

from elboflow.settings import WorkError
from preprocessing import rejects
from preprocessing.config import DataConfig
from preprocessing.pipeline import preprocess
from preprocessing.reader import open_dataset
from tests.preprocessing.raw_files import config, examples, idx, mnist_folder
from tests.preprocessing.test_pipeline import all_images, contents


def listed(folder):
    return [json.loads(line) for line in (folder / rejects.NAME).read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def damaged(tmp_path):
    """A config for 1,000 images, of which two do not fit, and the images."""
    images, labels = examples(1000)
    images = images.astype(np.float64)
    images[7, 2, 3], images[900, 0, 0] = 255.5, np.nan
    np.savez(tmp_path / "raw.npz", image=images, label=labels)
    return config({"kind": "npz", "path": str(tmp_path / "raw.npz")}), images


def test_what_does_not_fit_is_left_out_and_listed_with_its_place_and_the_reason(damaged, tmp_path, caplog):
    settings, images = damaged
    with caplog.at_level("INFO", "elboflow.preprocessing"):
        made = preprocess(settings, tmp_path / "out").manifest
    outside = {"reason": "data.features.image.range allows 0 to 255", "found": "255.5"}
    infinite = {"reason": "a finite number is expected", "found": "nan"}
    place = {"place": "raw.npz[image]", "feature": "image"}
    assert listed(tmp_path / "out") == [{**place, "row": 7, **outside}, {**place, "row": 900, **infinite}]
    assert made.rejected == {f"image: {outside['reason']}": 1, f"image: {infinite['reason']}": 1}
    assert ", 2 rejected in " in caplog.messages[-1]
    stored = sorted(image for found in all_images(tmp_path / "out").values() for image in found)
    kept = np.delete(images, [7, 900], axis=0).astype(np.uint8)
    assert stored == sorted(image.tobytes() for image in kept)


def test_the_list_is_the_same_whatever_the_number_of_workers_and_goes_when_all_fit(tmp_path):
    images, labels = examples(30_000)
    wrong = images.astype(">i2")
    wrong[::211] += 300
    folder = mnist_folder(tmp_path / "raw", images, labels)
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(idx(images)[:2] + b"\x0b" + idx(images)[3:16] + wrong.tobytes())
    settings = config({"kind": "idx", "path": str(folder)})
    for workers in (1, 3):
        preprocess(settings.model_copy(update={"workers": workers}), tmp_path / str(workers))
    assert contents(tmp_path / "1") == contents(tmp_path / "3")
    assert [each["row"] for each in listed(tmp_path / "1")] == list(range(0, 30_000, 211))
    path.write_bytes(idx(images))
    preprocess(settings, tmp_path / "1")
    assert not (tmp_path / "1" / rejects.NAME).exists()


def test_a_smaller_fraction_makes_them_an_error_that_says_how_many_why_and_where(damaged, tmp_path):
    settings, _ = damaged
    with pytest.raises(WorkError) as caught:
        preprocess(settings.model_copy(update={"max_reject_fraction": 0.001}), tmp_path / "out")
    told = str(caught.value)
    assert told.startswith("2 examples of 1,000 do not fit (0.20%; data.max_reject_fraction allows 0.10%): 1 × ")
    assert "example 900 has the value nan in its feature 'image'; a finite number is expected" in told
    assert "write quantise: true at data.features.image" not in told
    assert list((tmp_path / "out").iterdir()) == []


def test_the_most_frequent_reasons_come_first(tmp_path):
    images, labels = examples(200)
    values, classes = images.astype(np.float64), labels.astype(np.float64)
    values[:20] = -1
    classes[50:90] = 0.5
    np.savez(tmp_path / "raw.npz", image=values, label=classes)
    with pytest.raises(WorkError, match=r"60 examples of 200 .*: 40 × .*feature 'label'.*; 20 × .*feature 'image'"):
        preprocess(config({"kind": "npz", "path": str(tmp_path / "raw.npz")}), tmp_path / "out")


def test_an_example_with_several_values_that_do_not_fit_is_left_out_once(tmp_path):
    images, labels = examples(300)
    classes = labels.astype(np.float64)
    values = images.astype(np.float64)
    values[5], classes[5] = np.nan, -1
    np.savez(tmp_path / "raw.npz", image=values, label=classes)
    made = preprocess(config({"kind": "npz", "path": str(tmp_path / "raw.npz")}), tmp_path / "out").manifest
    assert len(listed(tmp_path / "out")) == sum(made.rejected.values()) == 1
    assert sum(made.counts.values()) == 299


def by_class(tmp_path, unknown, labels):
    image = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4))
    np.savez(tmp_path / "raw.npz", image=image, label=labels)
    features = {
        "image": {"kind": "image", "shape": [4, 4, 1], "range": [0, 255]},
        "label": {"kind": "category", "unknown": unknown},
    }
    source = {"kind": "npz", "path": str(tmp_path / "raw.npz")}
    return DataConfig.model_validate({"source": source, "features": features, "max_reject_fraction": 0.5})


@pytest.mark.parametrize("as_text", [True, False], ids=["names", "numbers"])
def test_a_class_that_is_not_in_the_train_split_is_rejected_or_gets_a_class_of_its_own(as_text, tmp_path):
    numbers = np.where(np.arange(600) < 200, np.arange(600), np.arange(600) % 3)  # 197 classes of one example
    labels = np.char.add("class ", numbers.astype(str)) if as_text else numbers
    for unknown in ("other", "reject"):
        made = preprocess(by_class(tmp_path, unknown, labels), tmp_path / unknown).manifest
        spec, train = made.features["label"], made.class_counts("label", "train")
        if unknown == "other":
            other = spec.facts["other"]
            assert other == spec.levels - 1
            assert other not in train
            assert made.class_counts("label", "test")[other] > 0
            assert sum(made.counts.values()) == 600
        else:
            assert set(spec.facts["classes"]) == set(train)
            assert made.rejected == {
                "label: no example of the train split has this class": 600 - sum(made.counts.values())
            }
        if as_text:
            named = len(spec.facts["names"]) - (unknown == "other")
            assert named == len(train)
        elif unknown == "other":
            dataset = open_dataset(tmp_path / unknown)
            assert set(np.unique(dataset.read("train")["label"])) <= set(numbers.tolist())
