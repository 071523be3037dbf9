"""Hostile idx files, plain and gzipped: named with what is wrong, before memory or time are spent on them."""

import gzip
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elboflow.settings import WorkError
from preprocessing import sources
from preprocessing.config import DataConfig
from tests.hostile.memory import elboflow

IMAGE = {"kind": "image", "shape": [8, 8, 1], "range": [0, 255]}


def header(*shape: int, kind: int = 8) -> bytes:
    return struct.pack(f">4B{len(shape)}I", 0, 0, kind, len(shape), *shape)


def config(images: Path) -> DataConfig:
    return DataConfig.model_validate({"source": {"kind": "idx", "images": str(images)}, "features": {"image": IMAGE}})


def read(data: DataConfig) -> None:
    source = sources.open_source(data)
    for unit in source.units():
        for _ in source.read(unit):
            pass


FILES = {
    "4 billion images": (header(2**32 - 1, 8, 8) + bytes(64), "truncated"),
    "a row of gigabytes": (header(1, 2**16, 2**16), r"has the shape \[65536, 65536\]; data.features.image.shape says"),
    "255 dimensions of the largest size": (header(*[2**32 - 1] * 255), "has 255 dimensions; at most 64"),
    "images without pixels": (header(10, 0, 8), r"has the shape \[0, 8\]; data.features.image.shape"),
    "no dimensions": (header(), "is not an idx file: it begins with 00 00 08 00"),
    "an unknown type": (header(10, 8, 8, kind=0x0A) + bytes(640), "is not an idx file: it begins with 00 00 0a 03"),
    "numbers of 8 bytes that are not there": (header(10, 8, 8, kind=0x0E) + bytes(640), "is truncated"),
    "one byte more": (header(10, 8, 8) + bytes(641), "is too long|holds more bytes than its header promises"),
    "a header that ends early": (header(10, 8, 8)[:9], "is truncated: it ends within its header"),
    "nothing": (b"", "is not an idx file: it begins with nothing"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("kind", sorted(FILES))
def test_a_hostile_file_is_named_with_what_is_wrong(kind: str, packed: bool, tmp_path: Path):
    content, reason = FILES[kind]
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(WorkError, match=f"images:? .*({reason})|images:? ({reason})"):
        read(config(path))


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(header(10, 8, 8) + bytes(640))[:-9],
        gzip.compress(header(10, 8, 8) + bytes(640))[:-4],
        gzip.compress(header(10, 8, 8) + bytes(640)) + b"garbage",
        gzip.compress(header(10, 8, 8) + bytes(640)) + gzip.compress(b"more"),
        b"\x1f\x8b",
        b"\x1f\x8b\x08" + bytes(100),
    ],
    ids=["ends early", "without its checksum", "and garbage", "and more", "two bytes", "zeros"],
)
def test_a_hostile_gzip_stream_is_named(content: bytes, tmp_path: Path):
    (tmp_path / "images.gz").write_bytes(content)
    with pytest.raises(WorkError, match=r"images\.gz (is|holds)"):
        read(config(tmp_path / "images.gz"))


def test_a_gzip_file_of_several_members_is_one_stream(tmp_path: Path):
    content = header(10, 8, 8) + bytes(range(64)) * 10
    (tmp_path / "images.gz").write_bytes(b"".join(gzip.compress(content[n : n + 100]) for n in range(0, 700, 100)))
    source = sources.open_source(config(tmp_path / "images.gz"))
    (unit,) = source.units()
    (batch,) = source.read(unit)
    assert np.array_equal(
        batch.columns.column("image").to_numpy_ndarray().reshape(10, 64), np.tile(np.arange(64), (10, 1))
    )


@settings(max_examples=300, deadline=None)
@given(
    content=st.binary(max_size=40) | st.builds(lambda *shape: header(*shape), *[st.integers(0, 2**32 - 1)] * 3),
    rest=st.integers(0, 200),
    packed=st.booleans(),
)
def test_any_file_is_read_or_named(tmp_path_factory, content, rest, packed):
    path = tmp_path_factory.getbasetemp() / "any.idx"
    path.write_bytes(gzip.compress(content + bytes(rest)) if packed else content + bytes(rest))
    message = path.name
    try:
        read(config(path))
    except WorkError as error:
        message = str(error)
    assert path.name in message
    assert len(message) < 1000


def bomb(path: Path, start: bytes, zeros: int) -> Path:
    """Writes a gzipped file without ever holding its content."""
    compressor = zlib.compressobj(1, wbits=31)
    with path.open("wb") as file:
        file.write(compressor.compress(start))
        for _ in range(zeros >> 20):
            file.write(compressor.compress(bytes(1 << 20)))
        file.write(compressor.flush())
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (header(1, 2**15, 2**15), "has the shape [32768, 32768]"),
        (header(2**32 - 1, 8, 8), "is truncated"),
        (header(10, 8, 8), "holds more bytes than its header promises"),
    ],
    ids=["one image of a gigabyte", "4 billion images", "a gigabyte after the images"],
)
def test_a_small_file_takes_little_memory(start: bytes, reason: str, tmp_path: Path):
    path = bomb(tmp_path / "images.gz", start, 1 << 30)
    data = json.dumps({"source": {"kind": "idx", "images": str(path)}, "features": {"image": IMAGE}})
    measured = elboflow("step", "preprocess", "digits", "--set", f"data={data}", "--output", tmp_path / "out")
    assert measured.code == 1, measured.said
    assert reason in measured.said
    assert measured.peak < 500  # of which Beam is 360
    assert not list((tmp_path / "out").iterdir())
