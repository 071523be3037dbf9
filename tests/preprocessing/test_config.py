"""The data section: short forms, defaults, and what is refused before anything runs."""

import subprocess
import sys

import pytest
import yaml
from pydantic import ValidationError

from preprocessing import address
from preprocessing.config import DataConfig
from preprocessing.features.image import ImageFeature

IMAGE = {"kind": "image", "shape": [8, 8, 1], "range": [0, 16]}


def test_the_data_section_of_the_design_is_read_as_it_stands():
    section = """
      source: {kind: sklearn, dataset: digits}
      features: {image: {kind: image, shape: [8, 8, 1], range: [0, 16]}, label: {kind: category}}
      splits: {train: 0.8, validation: 0.1, test: 0.1}
    """
    config = DataConfig.model_validate(yaml.safe_load(section))
    assert config == DataConfig.model_validate({"source": "sklearn"})
    assert DataConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("value_range", "levels"),
    [([0, 16], 17), ([0, 255], 256), ([0, 1], 256), ([-1.0, 1.0], 256), ([-1, 1], 256), ([-2, 2], 5), ([0, 0.5], 256)],
)
def test_levels_default_to_the_whole_numbers_of_the_range(value_range, levels):
    assert ImageFeature.model_validate({**IMAGE, "range": value_range}).levels == levels


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"source": "sklern"}, "idx, .*npz, .*sklearn"),
        ({"source": {"kind": "sklearn", "dataset": "faces"}}, "allowed: digits, wine"),
        ({"source": "idx"}, "either `path`"),
        ({"source": {"kind": "idx", "path": "a", "labels": "b"}}, "finds its files by name"),
        ({"source": {"kind": "npz", "path": "a.npz"}}, "give at least one feature"),
        (
            {"source": {"kind": "npz", "path": "a", "arrays": {"x": "y"}}, "features": {"image": IMAGE}},
            "arrays for x; the",
        ),
        ({"source": "sklearn", "features": {"picture": IMAGE}}, "has no 'picture'; it has"),
        (
            {"source": "sklearn", "features": {"image": "category", "label": IMAGE}},
            "is of kind image, not category",
        ),
        ({"source": "sklearn", "features": {}}, "at least one must be given"),
        ({"source": "sklearn", "identity": ["ink"]}, "identity: ink; the features are image, label"),
        ({"source": "sklearn", "features": {"image": IMAGE, "weight": "number"}}, "has no 'weight'; it has"),
        ({"source": "sklearn", "features": {"image": IMAGE, "label": "number"}}, "is of kind category, not number"),
        ({"source": "sklearn", "features": {"image": {**IMAGE, "range": [16, 0]}}}, "low < high"),
        ({"source": "sklearn", "splits": {"train": 0.5, "test": 0.2}}, "sum to 0.7"),
        ({"source": "sklearn", "splits": {"test": 1}}, "must give `train` a fraction"),
        ({"source": "sklearn", "splits": {"train": 1.0, "test": 0}}, "a fraction in"),
        ({"source": "sklearn", "splits": {"train": 1, "test": "source"}}, "no held-out part"),
        (
            {"source": {"kind": "idx", "path": "a"}, "splits": {"train": 1, "a": "source", "b": "source"}},
            "only one split",
        ),
        ({"source": "sklearn", "shard": 3}, "shard"),
    ],
)
def test_what_cannot_work_is_refused_with_what_is_allowed(section, message):
    with pytest.raises(ValidationError, match=message):
        DataConfig.model_validate(section)


def test_the_former_address_of_a_dataset_is_still_known():
    config = DataConfig.model_validate({"source": "sklearn"})
    former = "660650bbd09b3a31d9d177fdb39536075fd973ae6728230fe7ab78afed63b74b"
    assert address.former_digest(config, "f" * 64) == former
    assert address.digests(config, "f" * 64) == (address.digest(config, "f" * 64), former)


def test_settings_that_are_newer_than_the_former_address_have_none():
    for more in (
        {"identity": ["label"]},
        {"features": {"image": IMAGE, "label": {"kind": "category", "unknown": "other"}}},
        {
            "source": {"kind": "sklearn", "dataset": "iris"},
            "features": {"petal_length_cm": "number", "label": "tokens"},
        },
    ):
        config = DataConfig.model_validate({"source": "sklearn", **more})
        assert address.former_digest(config, "f" * 64) is None


def test_a_setting_that_is_spelled_out_as_its_default_leaves_the_address_as_it_is():
    plain = DataConfig.model_validate({"source": "sklearn"})
    spelled = {"image": {**IMAGE, "levels": 17, "quantise": False}, "label": {"kind": "category", "unknown": "keep"}}
    explicit = {"source": "sklearn", "features": spelled, "shards": 16, "max_reject_fraction": 0.5, "workers": 3}
    assert address.digest(DataConfig.model_validate(explicit), "f" * 64) == address.digest(plain, "f" * 64)


def test_config_and_reader_import_nothing_heavy():
    code = (
        "import sys, preprocessing.config, preprocessing.reader, preprocessing.sources;"
        "print([m for m in ('apache_beam', 'tensorflow', 'sklearn', 'keras') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8").stdout.strip() == "[]"
