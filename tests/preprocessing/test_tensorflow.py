"""TensorFlow reads what we write. The only tests of this room that import TensorFlow."""

import numpy as np
import pytest

from preprocessing.reader import open_dataset
from preprocessing.records import Schema, Wire, encode

SCHEMA = Schema.of({"image": Wire("bytes", 200), "label": Wire("int64"), "weight": Wire("float32")})
pytestmark = pytest.mark.xdist_group("tensorflow")


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def test_tf_data_reads_the_shards_with_a_plain_feature_spec(digits, tf):
    spec = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
        "key": tf.io.FixedLenFeature([], tf.int64),
    }
    shards = sorted(str(path) for path in digits.glob("train-*.tfrecord"))
    assert len(shards) > 1
    batches = tf.data.TFRecordDataset(shards).batch(1000).map(lambda records: tf.io.parse_example(records, spec))
    read = [
        (tf.io.decode_raw(batch["image"], tf.uint8).numpy(), batch["label"].numpy(), batch["key"].numpy())
        for batch in batches
    ]
    ours = open_dataset(digits).read("train")
    assert np.array_equal(np.concatenate([images for images, _, _ in read]).reshape(-1, 8, 8, 1), ours["image"])
    assert np.array_equal(np.concatenate([labels for _, labels, _ in read]), ours["label"])
    assert np.array_equal(np.concatenate([keys for _, _, keys in read]), ours["key"])


@pytest.mark.parametrize(
    ("label", "weight"), [(0, 0.0), (127, -0.0), (128, 1 / 3), (2**40, 3e38), (2**63 - 1, 1e-45), (-1, -2.5)]
)
def test_a_record_is_byte_for_byte_what_tensorflow_writes(tf, tmp_path, label, weight):
    columns = {
        "image": np.arange(200, dtype=np.uint8).reshape(1, 200),
        "label": np.array([label]),
        "key": np.array([2**62]),
        "weight": np.array([weight], np.float32),
    }
    record = encode(SCHEMA, columns).data.tobytes()
    example = tf.train.Example.FromString(record[12:-4])
    assert example.features.feature["image"].bytes_list.value[:] == [bytes(range(200))]
    assert example.features.feature["label"].int64_list.value[:] == [label]
    assert example.features.feature["weight"].float_list.value[:] == columns["weight"].tolist()
    assert example.SerializeToString(deterministic=True) == record[12:-4]
    with tf.io.TFRecordWriter(str(tmp_path / "file")) as writer:
        writer.write(example.SerializeToString(deterministic=True))
    assert (tmp_path / "file").read_bytes() == record
