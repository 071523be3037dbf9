"""Hostile .npz files: a sentence that names the file and what is wrong, before memory or time are spent on them."""

import functools
import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from elboflow.settings import WorkError
from preprocessing import sources
from preprocessing.config import DataConfig
from tests.hostile.memory import Measured, elboflow

IMAGE = {"kind": "image", "shape": [8, 8, 1], "range": [0, 255]}


def array(header: str, content: bytes = b"", version: int = 1) -> bytes:
    """Returns a .npy file with this text for its header."""
    padded = header.encode("latin1") + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(padded).to_bytes(2 * version, "little") + padded + content


def described(shape: object, descr: object = "|u1", fortran: bool = False, content: bytes = b"") -> bytes:
    return array(str({"descr": descr, "fortran_order": fortran, "shape": shape}), content)


def npz(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def config(path: Path, **features: object) -> DataConfig:
    features = {"image": IMAGE, **features}
    return DataConfig.model_validate({"source": {"kind": "npz", "path": str(path)}, "features": features})


def read(data: DataConfig) -> None:
    source = sources.open_source(data)
    for unit in source.units():
        for _ in source.read(unit):
            pass


GOOD = described((10, 8, 8), content=bytes(640))
IMAGES = {
    "2^62 images": (described((2**62, 8, 8)), "is truncated: its header promises"),
    "a row of gigabytes": (described((1, 2**16, 2**16)), r"has the shape \[65536, 65536\]; data.features.image.shape"),
    "sizes below zero": (described((1000, -8, -8)), r"has the shape \[1000, -8, -8\]; sizes are whole numbers"),
    "fewer than no images": (described((-1, 8, 8)), "sizes are whole numbers"),
    "images without pixels": (described((8, 0)), r"has the shape \[0\]; data.features.image.shape says \[8, 8, 1\]"),
    "a single value": (described((), content=b"1"), "is a single value"),
    "100 dimensions": (described((10, 8, 8, *[1] * 97), content=bytes(640)), "has 100 dimensions; at most 64"),
    "a size of 4,000 digits": (described((10**4000, 8, 8)), r"shape \[…, 8, 8\]; sizes are whole numbers from 0 to"),
    "the largest sizes": (described((2**63 - 1,) * 64), "has the shape|promises"),
    "true as a size": (described((True, 8, 8), content=bytes(64)), "sizes are whole numbers"),
    "values of no bytes": (described((10, 8, 8), "|V0"), "has values of type [|]V0; numbers"),
    "bytes that are no numbers": (
        described((10, 8, 8), "|V8", content=bytes(5120)),
        "has values of type [|]V8; numbers",
    ),
    "values of gigabytes": (described((10, 8, 8), "<U400000000"), "has values of type <U400000000; numbers"),
    "values that are arrays": (described((10,), ("|u1", (8, 8)), content=bytes(640)), "has values of type"),
    "records": (described((10, 8, 8), [("a", "|u1")], content=bytes(640)), "has values of type .*; numbers"),
    "Python objects": (described((10, 8, 8), "|O"), "holds Python objects"),
    "Fortran's order": (described((10, 8, 8), fortran=True, content=bytes(640)), "is stored in Fortran order"),
    "too few values": (described((10, 8, 8), content=bytes(639)), "promises 1 more byte than it holds"),
    "too many values": (described((10, 8, 8), content=bytes(641)), "holds more bytes than its header promises"),
    "a header of 100 MB": (array(" " * 100_000_000, version=2), "has a header of 100,000,001 bytes; at most 10,000"),
    "a header that ends early": (array("{" * 50)[:30], "is not a NumPy array"),
    "a header that is no literal": (
        array("__import__('os').abort()"),
        r"is not a NumPy array: its header cannot be read \(ValueError",
    ),
    "a header that is no dictionary": (array("[1, 2]"), "is not a NumPy array"),
    "a header nested deep": (array("(" * 9_000), "is not a NumPy array"),
    "no header": (b"", "is not a NumPy array: it begins with nothing"),
    "another format": (b"\x89HDF\r\n\x1a\n", "is not a NumPy array: it begins with 89 48 44 46"),
}


@pytest.mark.parametrize("kind", sorted(IMAGES))
def test_a_hostile_array_is_named_with_what_is_wrong(kind: str, tmp_path: Path):
    content, reason = IMAGES[kind]
    with pytest.raises(WorkError, match=rf"x\.npz\[image\].*({reason})"):
        read(config(npz(tmp_path / "x.npz", ("image.npy", content))))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            described((10, 2), content=bytes(20)),
            r"'label' is uint8 of shape \[2\]; a category is one value per example",
        ),
        (described((10, 0)), "a category is one value"),
        (described((10,), "<U400000000"), "values of type <U400000000; numbers, or for a category texts of up to"),
    ],
)
def test_a_hostile_label_is_named_with_what_is_wrong(content: bytes, reason: str, tmp_path: Path):
    path = npz(tmp_path / "x.npz", ("image.npy", GOOD), ("label.npy", content))
    with pytest.raises(WorkError, match=rf"x\.npz\[label\].*{reason}"):
        read(config(path, label="category"))


def patched(path: Path, field: int, format: str, *values: int, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Writes an archive of ten images whose directory says something else of them."""
    content = bytearray(npz(path, ("image.npy", GOOD), method=method).read_bytes())
    struct.pack_into(format, content, content.index(b"PK\x01\x02") + field, *values)
    path.write_bytes(content)
    return path


ARCHIVES = {
    "encrypted": (lambda path: patched(path, 8, "<H", 1), "'image': it is encrypted"),
    "that unpacks to more than it could": (
        lambda path: patched(path, 24, "<I", 2**32 - 2),
        "'image': [0-9]+ bytes cannot hold the 4,294,967,294 that it is said to have",
    ),
    "stored beyond the file's end": (
        lambda path: patched(path, 20, "<II", 2**32 - 2, 2**32 - 2, method=zipfile.ZIP_STORED),
        "'image': it is said to take 4,294,967,294 bytes; the file ends before",
    ),
    "of another method": (
        lambda path: npz(path, ("image.npy", GOOD), method=zipfile.ZIP_BZIP2),
        "'image': it is compressed by the method 12",
    ),
    "of two arrays of a name": (
        lambda path: npz(path, ("image.npy", GOOD), ("image.npy", GOOD)),
        "'image': 2 arrays have this name",
    ),
    "of a folder": (lambda path: npz(path, ("data/image.npy", GOOD)), r"no array 'image'; it holds \['data/image'\]"),
    "of a path upwards": (lambda path: npz(path, ("../image.npy", GOOD)), r"no array 'image'; .*\['\.\./image'\]"),
    "of many names": (lambda path: npz(path, *((f"{n}.npy", b"") for n in range(999))), "and 979 more"),
    "of nothing": (lambda path: npz(path), r"no array 'image'; it holds \[\]"),
    "that is none": (lambda path: path.write_text("PK", encoding="utf-8"), "not a whole .npz file: File is not a zip"),
    "that is empty": (lambda path: path.write_bytes(b""), "not a whole .npz file"),
    "that is one array": (lambda path: path.write_bytes(GOOD), r"is a \.npy file, of one array; .* numpy\.savez"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", sorted(ARCHIVES))
def test_a_hostile_archive_is_named_with_what_is_wrong(kind: str, tmp_path: Path):
    make, reason = ARCHIVES[kind]
    make(tmp_path / "x.npz")
    with pytest.raises(WorkError, match=rf"x\.npz.*{reason}"):
        read(config(tmp_path / "x.npz"))
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


SIZES = st.integers(-3, 12) | st.integers() | st.booleans() | st.none() | st.floats() | st.just("8")
DTYPES = st.sampled_from(["|u1", "<f8", ">i2", "|b1", "<U4", "|V3", "|O", "<M8[s]", "c16", "x", [], ("<f4", (2,)), 7])


@settings(max_examples=300, deadline=None)
@given(shape=st.lists(SIZES, max_size=5).map(tuple) | SIZES, descr=DTYPES, size=st.integers(0, 2000), order=SIZES)
def test_an_array_of_any_header_is_read_or_named(tmp_path_factory, shape, descr, size, order):
    path = tmp_path_factory.getbasetemp() / "any.npz"
    npz(path, ("image.npy", described(shape, descr, order, bytes(size))))
    message = path.name
    try:
        read(config(path))
    except WorkError as error:
        message = str(error)
    assert path.name in message
    assert len(message) < 1000


def test_what_numpy_writes_is_read(tmp_path: Path):
    images = np.arange(10 * 64).reshape(10, 8, 8) % 256
    for save in (np.savez, np.savez_compressed):
        for kind in (np.uint8, np.float16, np.longdouble, ">i8"):
            save(tmp_path / "x.npz", image=images.astype(kind))
            read(config(tmp_path / "x.npz"))
    content = io.BytesIO()
    npy.write_array(content, images, version=(3, 0))
    read(config(npz(tmp_path / "x.npz", ("image.npy", content.getvalue()))))


def preprocessed(path: Path, output: Path) -> Measured:
    data = json.dumps({"source": {"kind": "npz", "path": str(path)}, "features": {"image": IMAGE}})
    return elboflow("step", "preprocess", "digits", "--set", f"data={data}", "--output", output)


@functools.cache
def usual(folder: Path) -> float:
    """Returns the most memory of a preprocessing of a few images, in MB."""
    np.savez(folder / "usual.npz", image=np.random.default_rng(0).integers(0, 256, (100, 8, 8), np.uint8))
    measured = preprocessed(folder / "usual.npz", folder / "usual")
    assert measured.code == 0, measured.said
    return measured.peak


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["one image of 400 MB", "2^62 images", "a row of gigabytes", "a header of 100 MB"],
)
def test_a_small_file_takes_little_memory(kind: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    content = described((1, 20_000, 20_000), content=bytes(400_000_000)) if kind not in IMAGES else IMAGES[kind][0]
    path = npz(tmp_path / "x.npz", ("image.npy", content))
    assert path.stat().st_size < 500_000
    measured = preprocessed(path, tmp_path / "out")
    assert measured.code == 1
    assert measured.said.count("\n") == 1, measured.said
    assert "error: " in measured.said
    assert measured.peak < usual(tmp_path_factory.getbasetemp()) + 30
    assert not list((tmp_path / "out").iterdir())
