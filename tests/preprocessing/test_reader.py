"""Reading a dataset: damage is found."""

import hashlib
import shutil

import numpy as np
import pytest

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError, WorkError
from preprocessing import manifest, records
from preprocessing.reader import open_dataset


@pytest.fixture
def copy(digits, tmp_path):
    """A dataset that a test may damage."""
    return shutil.copytree(digits, tmp_path / "copy")


def test_a_missing_shard_is_named(copy):
    (copy / "train-00001-of-00003.tfrecord").unlink()
    with pytest.raises(WorkError, match=r"train-00001-of-00003.tfrecord is missing"):
        open_dataset(copy).read("train")
    assert len(open_dataset(copy).read("test")["label"])


def test_a_truncated_shard_is_named_with_its_sizes(copy):
    path = copy / "train-00001-of-00003.tfrecord"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(WorkError, match=r"train-00001-of-00003.tfrecord holds [\d,]+ bytes; dataset.json says"):
        open_dataset(copy).read("train")


def test_a_corrupted_shard_is_named_even_without_its_checksum(copy):
    path = copy / "train-00001-of-00003.tfrecord"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(WorkError, match=r"train-00001-of-00003.tfrecord is corrupted: its SHA-256 is"):
        open_dataset(copy).read("train")
    with pytest.raises(WorkError, match=r"train-00001-of-00003.tfrecord: record \d+ is corrupted: its CRC-32C"):
        open_dataset(copy).read("train", verify=False)


def test_a_split_can_be_read_shard_by_shard_again_and_again(digits):
    dataset = open_dataset(digits)
    whole = dataset.read("train")
    for _ in range(2):
        parts = [dataset.read_shard("train", number) for number in range(len(dataset.shards("train")))]
        assert [len(part["key"]) for part in parts] == [shard.examples for shard in dataset.shards("train")]
        for name, values in whole.items():
            assert np.array_equal(np.concatenate([part[name] for part in parts]), values)


@pytest.mark.parametrize("read_before", [False, True], ids=["at first", "after it was read"])
def test_a_shard_that_is_corrupted_is_named_whenever_it_is_read(copy, read_before):
    dataset = open_dataset(copy)
    path = copy / "train-00001-of-00003.tfrecord"
    whole = path.read_bytes()
    if read_before:
        dataset.read_shard("train", 1)
    path.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    for _ in range(2):
        with pytest.raises(WorkError, match=r"train-00001-of-00003.tfrecord is corrupted: its SHA-256 is"):
            dataset.read_shard("train", 1)
    dataset.read_shard("train", 0)
    path.write_bytes(whole)
    assert len(dataset.read_shard("train", 1)["key"])


def test_a_folder_without_a_manifest_is_not_a_dataset(tmp_path):
    with pytest.raises(WorkError, match=r"is not a finished dataset: it holds no dataset.json"):
        open_dataset(tmp_path)


def test_a_damaged_manifest_is_named(copy):
    (copy / "dataset.json").write_text('{"format": 99}', encoding="utf-8")
    with pytest.raises(WorkError, match=r"dataset.json was written by a newer ELBOflow: its format is 99; this"):
        open_dataset(copy)


def test_an_unknown_split_is_answered_with_those_there_are(digits):
    with pytest.raises(RequestError, match=r"no split 'dev'; it has \['test', 'train', 'validation'\]"):
        open_dataset(digits).read("dev")


def drawn(folder, lengths):
    """Writes a dataset by hand whose examples are strokes of points [steps, 2, 2] with so many values."""
    made = np.arange(sum(lengths), dtype=np.float32)
    strokes = records.Ragged(made, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))
    spec = FeatureSpec(kind="strokes", dtype="float32", shape=(4, 2, 2), ragged=True)
    schema = records.Schema.of({"strokes": records.Wire.of(spec)})
    keys = (1 << 62) + np.arange(len(lengths), dtype=np.int64)
    content = records.encode(schema, {"strokes": strokes, "key": keys}).data.tobytes()
    name, sha = "train-00000-of-00001.tfrecord", hashlib.sha256(content).hexdigest()
    (folder / name).write_bytes(content)
    written = manifest.Manifest(
        digest="0" * 64,
        features={"strokes": spec},
        summaries={},
        class_means={},
        counts={"train": len(lengths)},
        shards={"train": [manifest.Shard(name=name, examples=len(lengths), bytes=len(content), sha256=sha)]},
        rejected={},
        source=manifest.SourceRecord(kind="hand", description="strokes", fingerprint="0" * 64),
        code="0",
    )
    (folder / manifest.NAME).write_text(written.to_json(), encoding="utf-8")
    return open_dataset(folder)


def test_a_ragged_feature_of_several_axes_has_its_shape_and_lengths_in_steps(tmp_path):
    found = drawn(tmp_path, [8, 16, 4]).read("train")
    assert found["strokes"].shape == (3, 4, 2, 2)
    assert (found["strokes.length"].dtype, found["strokes.length"].tolist()) == (np.int32, [2, 4, 1])
    assert found["strokes"][1].tolist() == np.arange(8.0, 24.0).reshape(4, 2, 2).tolist()
    assert found["strokes"][0, :2].tolist() == np.arange(8.0).reshape(2, 2, 2).tolist()
    assert not found["strokes"][0, 2:].any()
    assert not found["strokes"][2, 1:].any()


@pytest.mark.parametrize(
    ("length", "said"),
    [(6, "holds 6 values of 'strokes', which are no steps of 4 values"), (20, "holds 20 values of 'strokes'; dataset")],
)
def test_a_ragged_example_that_is_no_whole_number_of_steps_or_too_long_is_told(length, said, tmp_path):
    with pytest.raises(WorkError, match=f"the shard .*tfrecord {said}"):
        drawn(tmp_path, [4, length]).read("train")
