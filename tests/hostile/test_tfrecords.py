"""Hostile TFRecord files: what is not exactly what this project writes is named, never read as something else."""

import random
import shutil
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from elboflow.artifacts.tfrecord import HEADER
from elboflow.settings import WorkError
from preprocessing.config import DataConfig
from preprocessing.pipeline import preprocess
from preprocessing.reader import open_dataset
from preprocessing.records import Schema, Wire, decode, encode

SCHEMA = Schema.of({"image": Wire("bytes", 6), "label": Wire("int64"), "weight": Wire("float32")})
COLUMNS = {
    "image": np.arange(6, dtype=np.uint8)[None],
    "key": np.array([2**40]),
    "label": np.array([5]),
    "weight": np.array([0.5], np.float32),
}


def framed(*examples: bytes) -> np.ndarray:
    """Returns a TFRecord file whose checksums fit, with any records."""
    content = b""
    for data in examples:
        length = len(data).to_bytes(8, "little")
        content += length + masked(length) + data + masked(data)
    return np.frombuffer(content, np.uint8)


def masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return ((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value: int, least: int = 1) -> bytes:
    """Returns a number as a varint, of `least` bytes at least."""
    digits = []
    while value or len(digits) < least:
        digits.append(value & 0x7F)
        value >>= 7
    return bytes([digit | 0x80 for digit in digits[:-1]] + digits[-1:])


def entry(name: str, kind: int, value: bytes) -> bytes:
    return field(1, field(1, name.encode()) + field(2, field(kind, field(1, value))))


IMAGE, KEY = entry("image", 1, bytes(6)), entry("key", 3, varint(9))
LABEL, WEIGHT = entry("label", 3, varint(5)), entry("weight", 2, bytes(4))
REST = IMAGE + KEY + WEIGHT


def label(value: bytes) -> bytes:
    return field(1, REST + entry("label", 3, value))


HOSTILE = {
    "a label of two numbers": label(b"\x01\x02"),
    "a label of none": label(b""),
    "a label with a leading zero": label(varint(5, least=2)),
    "a zero of ten bytes": label(varint(0, least=10)),
    "a label of eleven bytes": label(varint(5, least=11)),
    "a label of more than 64 bits": label(b"\xff" * 9 + b"\x02"),
    "a label that does not end": label(b"\x85"),
    "a label that is not packed": field(1, REST + field(1, field(1, b"label") + field(2, field(3, b"\x08\x05")))),
    "a label in two pieces": field(
        1, REST + field(1, field(1, b"label") + field(2, field(3, field(1, b"\x05") + field(1, b"\x06"))))
    ),
    "a label that is a float": field(1, REST + entry("label", 2, bytes(4))),
    "a label of two kinds": field(
        1, REST + field(1, field(1, b"label") + field(2, field(2, field(1, bytes(4))) + field(3, field(1, b"\x05"))))
    ),
    "no label": field(1, REST),
    "two labels": field(1, REST + LABEL + LABEL),
    "a feature more": field(1, REST + LABEL + entry("other", 3, b"\x05")),
    "a name of other bytes": field(1, REST + LABEL + field(1, field(1, b"\xff") + field(2, b""))),
    "a value before its name": field(1, REST + field(1, field(2, field(3, field(1, b"\x05"))) + field(1, b"label"))),
    "an image too short": field(1, KEY + WEIGHT + LABEL + entry("image", 1, bytes(5))),
    "two images": field(
        1,
        KEY
        + WEIGHT
        + LABEL
        + field(1, field(1, b"image") + field(2, field(1, field(1, bytes(6)) + field(1, bytes(6))))),
    ),
    "a float of eight bytes": field(1, IMAGE + KEY + LABEL + entry("weight", 2, bytes(8))),
    "two Features": field(1, REST) + field(1, LABEL),
    "a field that nobody knows": field(1, REST + LABEL) + field(2, b""),
    "a number where a message is": b"\x08\x05",
    "a length beyond the end": b"\x0a\xff\x01",
    "a length of 2^63": b"\x0a" + varint(2**63),
    "a length with a leading zero": b"\x0a" + varint(len(REST + LABEL), least=3) + REST + LABEL,
    "nothing": b"",
    "noise": random.Random(0).randbytes(100),
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
@pytest.mark.parametrize("before", [0, 3], ids=["first", "after others"])
def test_a_hostile_record_is_named(kind: str, before: int):
    good = field(1, REST + LABEL)
    decode(SCHEMA, framed(good), "x.tfrecord")
    with pytest.raises(WorkError, match=rf"^x\.tfrecord: record {before} (has|is)"):
        decode(SCHEMA, framed(*[good] * before, HOSTILE[kind]), "x.tfrecord")


def test_a_number_with_a_leading_zero_is_found_among_records_of_the_same_shape():
    records = [label(varint(value)) for value in (300, 301, 302)]
    records[2] = label(varint(5, least=2))
    with pytest.raises(WorkError, match=r"record 2 has a number that is not in its shortest form .*'label'"):
        decode(SCHEMA, framed(*records), "x.tfrecord")


def example_class() -> type:
    """Returns the message class of tf.train.Example, without TensorFlow."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    one, many = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL, descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    for name, kind in (("BytesList", 12), ("FloatList", 2), ("Int64List", 3)):
        file.message_type.add(name=name).field.add(name="value", number=1, label=many, type=kind)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), 1):
        feature.field.add(name=f"f{number}", number=number, label=one, type=11, type_name=f".t.{name}", oneof_index=0)
    features = file.message_type.add(name="Features")
    item = features.nested_type.add(name="FeatureEntry")
    item.options.map_entry = True
    item.field.add(name="key", number=1, label=one, type=9)
    item.field.add(name="value", number=2, label=one, type=11, type_name=".t.Feature")
    features.field.add(name="feature", number=1, label=many, type=11, type_name=".t.Features.FeatureEntry")
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, label=one, type=11, type_name=".t.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


EXAMPLE = example_class()


def read_by_protobuf(data: bytes) -> dict[str, list] | None:
    try:
        example = EXAMPLE.FromString(data)
    except DecodeError:
        return None
    kinds = {name: feature.WhichOneof("kind") for name, feature in example.features.feature.items()}
    return {
        name: list(getattr(example.features.feature[name], kind).value) if kind else [] for name, kind in kinds.items()
    }


@settings(max_examples=1000, deadline=None)
@given(data=st.data(), key=st.integers(-(2**63), 2**63 - 1), number=st.floats(width=32, allow_nan=False))
def test_what_is_read_is_what_protocol_buffers_read(data, key, number):
    columns = {**COLUMNS, "key": np.array([key]), "weight": np.array([number], np.float32)}
    content = bytearray(encode(SCHEMA, columns).data.tobytes()[HEADER:-4])
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(content)))
        how = data.draw(st.sampled_from(["change", "cut", "insert", "double"]))
        if how == "change" and at < len(content):
            content[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del content[at : at + data.draw(st.integers(1, 4))]
        elif how == "double":
            content[at:at] = content[at : at + data.draw(st.integers(1, 20))]
        else:
            content[at:at] = data.draw(st.binary(max_size=3))
    try:
        ours = decode(SCHEMA, framed(bytes(content)), "x.tfrecord")
    except WorkError:
        return
    theirs = read_by_protobuf(bytes(content))
    assert theirs is not None
    # Not as lists, because a changed byte may make a NaN, which equals nothing there.
    np.testing.assert_array_equal(theirs.pop("weight"), ours["weight"].tolist())
    assert theirs == {
        "image": [ours["image"].tobytes()],
        "key": ours["key"].tolist(),
        "label": ours["label"].tolist(),
    }
    assert len(EXAMPLE.FromString(bytes(content)).SerializeToString()) == len(content)


@settings(max_examples=200, deadline=None)
@given(key=st.integers(-(2**63), 2**63 - 1), label=st.integers(0, 2**63 - 1), order=st.permutations(range(4)))
def test_what_protocol_buffers_write_is_read(key, label, order):
    entries = [IMAGE, entry("key", 3, varint(key % 2**64)), entry("label", 3, varint(label)), WEIGHT]
    data = field(1, b"".join(entries[number] for number in order))
    assert read_by_protobuf(data) == {"image": [bytes(6)], "key": [key], "label": [label], "weight": [0.0]}
    again = EXAMPLE.FromString(data).SerializeToString()
    for spelling in (data, again):
        ours = decode(SCHEMA, framed(spelling), "x.tfrecord")
        assert (ours["key"].item(), ours["label"].item()) == (key, label)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    preprocess(DataConfig.model_validate({"source": "sklearn", "shards": {"megabytes": 0.1}}), folder)
    return folder


@pytest.mark.slow
def test_no_flipped_bit_of_a_shard_is_accepted(dataset: Path, tmp_path: Path):
    shutil.copytree(dataset, tmp_path / "copy")
    opened = open_dataset(tmp_path / "copy")
    chosen = random.Random(0)
    for _ in range(300):
        split = chosen.choice(sorted(opened.manifest.shards))
        path = tmp_path / "copy" / chosen.choice(opened.manifest.shards[split]).name
        content = path.read_bytes()
        at = chosen.randrange(len(content))
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << chosen.randrange(8)]) + content[at + 1 :])
        for verify in (True, False):  # by the manifest's SHA-256, and by the records' own checksums
            with pytest.raises(WorkError, match=path.name):
                opened.read(split, verify)
        path.write_bytes(content)
    opened.read("train")
