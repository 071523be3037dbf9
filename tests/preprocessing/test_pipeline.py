"""The whole way from raw data to a dataset folder, by real Beam runs."""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from elboflow.settings import WorkError
from preprocessing.config import DataConfig
from preprocessing.pipeline import dataset_digest, preprocess
from preprocessing.reader import open_dataset
from preprocessing.splits import keys
from tests.preprocessing.raw_files import config, examples, mnist_folder, weighted


def contents(folder):
    """Returns the SHA-256 of every file of a folder, hidden ones too."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def all_images(folder):
    """Returns the images of a dataset as bytes, by split."""
    dataset = open_dataset(folder)
    return {split: [image.tobytes() for image in dataset.read(split)["image"]] for split in dataset.manifest.counts}


@pytest.fixture
def raw(tmp_path):
    """A config for 600 examples of a folder in MNIST's layout, sorted by label, and the folder."""
    folder = mnist_folder(tmp_path / "raw", *examples(600))
    return config({"kind": "idx", "path": str(folder)}, shards={"megabytes": 0.02}), folder


def test_every_example_is_in_one_split_with_its_label(raw, tmp_path):
    settings, _ = raw
    made = preprocess(settings, tmp_path / "out").manifest
    images, labels = examples(600)
    expected = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    dataset = open_dataset(tmp_path / "out")
    found = {}
    for split in ("train", "validation", "test"):
        arrays = dataset.read(split)
        assert len(arrays["label"]) == made.counts[split] == sum(shard.examples for shard in made.shards[split])
        assert made.class_counts("label", split) == dict(
            zip(*np.unique(arrays["label"], return_counts=True), strict=True)
        )
        assert np.array_equal(arrays["key"], keys([arrays["image"].reshape(len(arrays["image"]), -1)]))
        found |= {image.tobytes(): label for image, label in zip(arrays["image"], arrays["label"], strict=True)}
    assert found == expected


def test_the_statistics_are_those_of_the_train_split(raw, tmp_path):
    made = preprocess(raw[0], tmp_path / "out").manifest
    codes = open_dataset(tmp_path / "out").read("train")["image"].astype(np.float64)
    statistics = made.summaries["image"]["train"]
    assert (statistics["min"], statistics["max"]) == (codes.min(), codes.max())
    assert statistics["mean"] == pytest.approx(codes.mean(), rel=1e-12)
    assert statistics["std"] == pytest.approx(codes.std(), rel=1e-9)
    assert statistics["counts"] == np.bincount(codes.astype(int).reshape(-1), minlength=256).tolist()


def test_numbers_stay_with_their_examples_and_the_manifest_knows_their_means(tmp_path):
    weights = np.random.default_rng(0).gamma(1.0, 5.0, 600)
    made = preprocess(settings := weighted(tmp_path / "raw.npz", weights), tmp_path / "a").manifest
    images, _ = examples(600)
    expected = dict(zip(map(bytes, images.reshape(600, -1)), weights.astype(np.float32), strict=True))
    for split, statistics in made.summaries["weight"].items():
        arrays = open_dataset(tmp_path / "a").read(split)
        found = arrays["weight"]
        assert found.dtype == np.float32
        assert found.tolist() == [expected[bytes(image.reshape(-1))] for image in arrays["image"]]
        assert statistics["mean"] == pytest.approx(found.astype(np.float64).mean(), rel=1e-14)
        assert statistics["std"] == pytest.approx(found.astype(np.float64).std(), rel=1e-12)
        assert (statistics["min"], statistics["max"]) == (found.min(), found.max())
    assert made.features["weight"].facts == {
        key: made.summaries["weight"]["train"][key] for key in ("mean", "std", "min", "max")
    }
    train = open_dataset(tmp_path / "a").read("train")
    means = {c: train["weight"][train["label"] == c].astype(np.float64).mean() for c in range(10)}
    assert made.class_means["weight"] == {"label": pytest.approx(means, rel=1e-14)}
    assert len(made.shards["train"]) > 1
    preprocess(settings.model_copy(update={"workers": 2}), tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_two_runs_write_the_same_bytes_with_one_worker_or_several(raw, tmp_path):
    settings, _ = raw
    preprocess(settings, tmp_path / "a")
    preprocess(settings, tmp_path / "b")
    preprocess(settings.model_copy(update={"workers": 2}), tmp_path / "c")
    assert len(contents(tmp_path / "a")) > 4
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


def test_the_way_the_same_examples_are_stored_is_no_matter_to_the_shards(raw, tmp_path):
    settings, _ = raw
    images, labels = examples(600)
    backwards = mnist_folder(tmp_path / "packed", images[::-1], labels[::-1], packed=True)
    np.savez_compressed(tmp_path / "raw.npz", x=images.astype(np.float32)[..., None], y=labels.astype(np.int64))
    npz = {"kind": "npz", "path": str(tmp_path / "raw.npz"), "arrays": {"image": "x", "label": "y"}}
    preprocess(settings, tmp_path / "a")
    preprocess(
        settings.model_copy(update={"source": config({"kind": "idx", "path": str(backwards)}).source}), tmp_path / "b"
    )
    preprocess(settings.model_copy(update={"source": config(npz).source}), tmp_path / "c")
    shards = [{n: s for n, s in contents(tmp_path / x).items() if n != "dataset.json"} for x in "abc"]
    assert shards[0] == shards[1] == shards[2]


def test_each_shard_holds_examples_of_all_labels_though_the_source_is_sorted(raw, tmp_path):
    made = preprocess(raw[0], tmp_path / "out").manifest
    assert len(made.shards["train"]) > 2
    labels = open_dataset(tmp_path / "out").read("train")["label"]
    for start in range(0, len(labels) - 60, 60):
        assert len(set(labels[start : start + 60].tolist())) >= 7


def test_duplicates_are_in_one_split_whatever_their_labels(tmp_path):
    images, _ = examples(100)
    many = np.repeat(images, 6, axis=0)
    folder = mnist_folder(tmp_path / "raw", many, np.tile(np.arange(6, dtype=np.uint8), 100))
    preprocess(config({"kind": "idx", "path": str(folder)}), tmp_path / "out")
    by_split = all_images(tmp_path / "out")
    assert sum(len(images) for images in by_split.values()) == 600
    assert sum(len(set(images)) for images in by_split.values()) == 100


def test_the_sources_own_test_part_stays_whole_and_is_never_trained_on(tmp_path):
    images, labels = examples(300)
    folder = mnist_folder(tmp_path / "raw", images, labels)
    test_images, test_labels = examples(40, seed=1)
    test_images[:5] = images[10:15]  # these leak
    mnist_folder(folder, test_images, test_labels, part="t10k")
    source = {"kind": "idx", "path": str(folder)}
    made = preprocess(config(source, splits={"train": 0.8, "validation": 0.2, "test": "source"}), tmp_path / "out")
    by_split = all_images(tmp_path / "out")
    assert sorted(by_split["test"]) == sorted(image.tobytes() for image in test_images)
    assert len(by_split["train"]) + len(by_split["validation"]) == 295
    assert not set(by_split["test"]) & {*by_split["train"], *by_split["validation"]}
    assert sum(made.manifest.rejected.values()) == 5
    pooled = preprocess(config(source), tmp_path / "pooled").manifest
    assert sum(pooled.counts.values()) == 340


def test_more_data_change_no_examples_split(raw, tmp_path):
    settings, folder = raw
    preprocess(settings, tmp_path / "before")
    more, labels = examples(900, seed=2)
    mnist_folder(folder, np.concatenate([more, examples(600)[0]]), np.concatenate([labels, examples(600)[1]]))
    preprocess(settings, tmp_path / "after")
    before, after = all_images(tmp_path / "before"), all_images(tmp_path / "after")
    for split in before:
        assert set(before[split]) <= set(after[split])


def test_images_are_quantised_to_the_levels_of_the_config(tmp_path):
    values = np.linspace(-1, 1, 200 * 36).reshape(200, 6, 6, 1)
    np.savez(tmp_path / "raw.npz", image=values)
    features = {"image": {"kind": "image", "shape": [6, 6, 1], "range": [-1, 1], "levels": 256}}
    settings = DataConfig.model_validate(
        {"source": {"kind": "npz", "path": str(tmp_path / "raw.npz")}, "features": features}
    )
    preprocess(settings, tmp_path / "out")
    codes = np.concatenate([open_dataset(tmp_path / "out").read(split)["image"] for split in settings.splits])
    assert (codes.min(), codes.max()) == (0, 255)
    restored = np.sort(codes.reshape(-1) / 255 * 2 - 1)
    assert np.abs(restored - np.sort(values.reshape(-1))).max() <= 1 / 255 + 1e-12


def test_unchanged_data_are_not_read_again_and_the_log_says_so(raw, tmp_path, caplog):
    settings, folder = raw
    caplog.set_level(logging.INFO, "elboflow.preprocessing")
    first = preprocess(settings, tmp_path / "out")
    assert "wrote 600 examples" in caplog.text
    again = preprocess(settings.model_copy(update={"workers": 3}), tmp_path / "out")
    assert (first.reused, again.reused) == (False, True)
    assert first.manifest == again.manifest
    assert first.manifest.digest == dataset_digest(settings)
    assert "made already in" in caplog.text
    mnist_folder(folder, *examples(500))
    assert dataset_digest(settings) != first.manifest.digest
    rewritten = preprocess(settings, tmp_path / "out")
    assert not rewritten.reused
    assert sum(rewritten.manifest.counts.values()) == 500


def test_a_source_that_changed_since_its_digest_was_taken_is_refused(raw, tmp_path):
    settings, folder = raw
    digest = dataset_digest(settings)
    assert preprocess(settings, tmp_path / digest, digest).manifest.digest == digest
    before = contents(tmp_path / digest)
    mnist_folder(folder, *examples(500))
    with pytest.raises(WorkError, match=f"the source changed while .* digest {digest[:12]}… and now"):
        preprocess(settings, tmp_path / digest, digest)
    assert contents(tmp_path / digest) == before


def test_an_attempt_that_ends_while_another_begins_is_no_matter(raw, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.attempt-gone").symlink_to("nowhere")  # listed, and not there when it is opened
    assert not preprocess(raw[0], tmp_path / "out").reused


@pytest.mark.parametrize("damage", ["missing", "truncated", "corrupted", "manifest"])
def test_a_damaged_dataset_is_rewritten(raw, tmp_path, damage):
    settings, _ = raw
    preprocess(settings, tmp_path / "out")
    whole = contents(tmp_path / "out")
    shard = next((tmp_path / "out").glob("train-00001-of-*.tfrecord"))
    if damage == "missing":
        shard.unlink()
    elif damage == "manifest":
        (tmp_path / "out" / "dataset.json").write_text("{}", encoding="utf-8")
    else:
        content = shard.read_bytes()
        shard.write_bytes(content[:-1] if damage == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    assert not preprocess(settings, tmp_path / "out").reused
    assert contents(tmp_path / "out") == whole


def test_fewer_shards_leave_no_stale_ones(raw, tmp_path):
    settings, _ = raw
    preprocess(settings, tmp_path / "out")
    one = settings.model_copy(update={"shards": settings.shards.model_copy(update={"megabytes": 16.0})})
    preprocess(one, tmp_path / "out")
    assert [name for name in contents(tmp_path / "out") if name.startswith("train")] == [
        "train-00000-of-00001.tfrecord"
    ]


def test_two_identical_runs_at_once_both_end_well(raw, tmp_path):
    settings, _ = raw
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: preprocess(settings, tmp_path / "out"), range(4)))
    assert len({run.manifest.to_json() for run in made}) == 1
    preprocess(settings, tmp_path / "alone")
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def started(settings, output, limit=None):
    """Starts a preprocessing in a process of its own, where files may grow to `limit` bytes."""
    code = (
        "import sys, resource; from preprocessing.config import DataConfig;"
        "from preprocessing.pipeline import preprocess;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit or -1}, -1));"
        "preprocess(DataConfig.model_validate_json(sys.argv[1]), sys.argv[2])"
    )
    command = [sys.executable, "-c", code, settings.model_dump_json(), str(output)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8", env={**os.environ, "PYTHONPATH": "."})


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_the_same_command_works_after_a_kill_in_the_middle(tmp_path, how):
    folder = mnist_folder(tmp_path / "raw", *examples(20_000, side=28), packed=True)
    settings = config({"kind": "idx", "path": str(folder)}, side=28)
    out = tmp_path / "out"
    process = started(settings, out)
    while not list(out.glob(".attempt-*/batch-*")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)
    process.send_signal(how)
    process.communicate()
    assert process.returncode != 0
    assert not (out / "dataset.json").exists()
    if how == signal.SIGINT:
        assert list(out.iterdir()) == []
    with pytest.raises(WorkError, match="is not a finished dataset"):
        open_dataset(out)
    preprocess(settings, out)
    preprocess(settings, tmp_path / "undisturbed")
    assert contents(out) == contents(tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_disk_without_room_is_an_error_that_names_the_file(raw, tmp_path):
    process = started(raw[0], tmp_path / "out", limit=5000)
    _, errors = process.communicate()
    assert "elboflow.settings.errors.WorkError: could not write" in errors
    assert "out/.attempt-" in errors
    assert list((tmp_path / "out").iterdir()) == []


def test_the_manifest_names_no_place_and_no_time(raw, tmp_path):
    preprocess(raw[0], tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert str(tmp_path) not in json.dumps(manifest)
    assert manifest["source"]["description"] == "train-images-idx3-ubyte, train-labels-idx1-ubyte"
