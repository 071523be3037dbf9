"""Dataset folders of an older version: found at their former address, reused, and left as they are."""

import json
import shutil
from pathlib import Path

import pytest

from elboflow.artifacts import manifest as manifests
from preprocessing import address
from preprocessing.pipeline import dataset_digest, dataset_digests, preprocess
from preprocessing.reader import open_dataset
from tests.preprocessing.raw_files import config, examples, mnist_folder
from tests.preprocessing.test_pipeline import contents

WRITTEN = Path(__file__).parents[1] / "formats/98a35c2/dataset"


@pytest.fixture
def former(tmp_path):
    """A config, and the root of the datasets, where its dataset is at its former address."""
    settings = config({"kind": "idx", "path": str(mnist_folder(tmp_path / "raw", *examples(300)))})
    newest, old = dataset_digests(settings)
    made = preprocess(settings, tmp_path / "datasets" / old).manifest
    facts = json.loads(made.to_json())
    text = manifests.sealed({**facts, "digest": old})
    (tmp_path / "datasets" / old / "dataset.json").write_text(text, encoding="utf-8")
    return settings, tmp_path / "datasets", newest, old


def test_a_dataset_at_its_former_address_is_found_reused_and_keeps_its_digest(former):
    settings, root, newest, old = former
    before = contents(root / old)
    assert dataset_digest(settings, str(root)) == old
    again = preprocess(settings, root / old, old)
    assert again.reused
    assert again.manifest.digest == old
    assert contents(root / old) == before
    assert not (root / newest).exists()


def test_a_dataset_at_the_address_of_today_comes_first(former):
    settings, root, newest, _ = former
    assert dataset_digest(settings) == newest
    assert not preprocess(settings, root / newest, newest).reused
    assert dataset_digest(settings, str(root)) == newest
    assert open_dataset(root / newest).manifest.digest == newest


def test_a_damaged_dataset_at_its_former_address_is_rewritten_there(former):
    settings, root, newest, old = former
    next((root / old).glob("train-*.tfrecord")).unlink()
    made = preprocess(settings, root / old, old)
    assert not made.reused
    assert made.manifest.digest == newest
    assert dataset_digest(settings, str(root)) == old
    assert preprocess(settings, root / old, old).reused


def test_a_folder_of_format_1_says_what_is_known_of_its_features(tmp_path):
    manifest = open_dataset(shutil.copytree(WRITTEN, tmp_path / "dataset")).manifest
    assert manifest.features["image"].facts == {"range": [0, 16]}
    assert manifest.features["label"].facts == {"classes": list(range(10))}
    assert (manifest.features["label"].levels, manifest.features["image"].levels) == (10, 17)
    assert set(manifest.features["ink"].facts) == {"mean", "min", "max"}
    roles = {"image": None, "label": "class", "ink": "amount"}
    assert {name: spec.role for name, spec in manifest.features.items()} == roles
    assert manifest.class_counts("label", "train")[0] == 11
    assert manifest.class_means["ink"]["label"][1] == 4.59375
    assert manifest.summaries["image"]["train"]["max"] == 16
    assert manifest.identity is None


def test_the_address_of_today_is_pinned():
    assert address.digest(config({"kind": "idx", "path": "x"}), "f" * 64) == PINNED


PINNED = "b92c0796d6863a66e91eca4a26ee5bf174a38130902b8dd4710a8074e63d2c02"
