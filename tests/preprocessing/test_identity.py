"""What makes two examples the same: images and tokens by default, or what `data.identity` says."""

import numpy as np
import pytest

from preprocessing.config import DataConfig
from preprocessing.pipeline import preprocess
from preprocessing.reader import open_dataset
from preprocessing.splits import keys

IMAGE = {"kind": "image", "shape": [4, 4, 1], "range": [0, 255]}


def config(folder, features, **more):
    return DataConfig.model_validate(
        {"source": {"kind": "npz", "path": str(folder / "raw.npz")}, "features": features, **more}
    )


def by_key(folder):
    """Returns the splits in which each key occurs."""
    dataset = open_dataset(folder)
    found = {}
    for split in dataset.manifest.counts:
        for key in dataset.read(split)["key"].tolist():
            found.setdefault(key, set()).add(split)
    return found


def test_a_key_is_that_of_the_images_alone_unless_said_otherwise(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (400, 4, 4), np.uint8)
    np.savez(tmp_path / "raw.npz", image=image, label=np.arange(400), other=image[::-1])
    features = {"image": IMAGE, "label": "category"}
    made = preprocess(config(tmp_path, features), tmp_path / "default").manifest
    assert made.identity == ["image"]
    assert set(by_key(tmp_path / "default")) == set(keys([image.reshape(400, 16)]).tolist())
    preprocess(config(tmp_path, {**features, "other": IMAGE}), tmp_path / "both")
    both = np.concatenate([image.reshape(400, 16), image[::-1].reshape(400, 16)], axis=1)
    assert set(by_key(tmp_path / "both")) == set(keys([both]).tolist())


def test_examples_of_the_same_identity_are_in_one_split(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (600, 4, 4), np.uint8)
    person = np.char.add("person ", (np.arange(600) % 40).astype(str))
    np.savez(tmp_path / "raw.npz", image=image, person=person)
    features = {"image": IMAGE, "person": "category"}
    made = preprocess(config(tmp_path, features, identity=["person"]), tmp_path / "out").manifest
    assert made.identity == ["person"]
    assert sum(made.distinct.values()) == 40
    found = by_key(tmp_path / "out")
    assert len(found) == 40
    assert all(len(splits) == 1 for splits in found.values())


@pytest.mark.parametrize("identity", [None, ["a", "b"]])
def test_where_no_feature_identifies_all_do(identity, tmp_path):
    a, b = np.arange(400) % 20, np.arange(400) / 7
    np.savez(tmp_path / "raw.npz", a=a, b=b)
    made = preprocess(config(tmp_path, {"a": "category", "b": "number"}, identity=identity), tmp_path / "out").manifest
    assert made.identity == ["a", "b"]
    assert made.distinct == made.counts


def test_identities_of_varying_length_are_not_confused():
    from preprocessing.records import Ragged

    def ragged(*texts):
        offsets = np.cumsum([0, *map(len, texts)])
        return Ragged(np.frombuffer("".join(texts).encode(), np.uint8), offsets)

    one = keys([ragged("ab", "a"), ragged("c", "bc")])
    assert len(set(one.tolist())) == 2
    assert keys([ragged("ab"), ragged("c")]).tolist() == one[:1].tolist()
