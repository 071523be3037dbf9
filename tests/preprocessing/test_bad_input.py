"""Bad input gets an error that names the thing, the place and what is allowed, and leaves nothing behind."""

import gzip
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from elboflow.settings import RequestError, WorkError
from preprocessing import sources
from preprocessing.pipeline import dataset_digest, preprocess
from tests.preprocessing.raw_files import config, examples, idx, mnist_folder, weighted

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")


def refused(settings, output, match):
    """Preprocesses, expects the error, and that nothing is left."""
    with pytest.raises(WorkError, match=match):
        preprocess(settings, output)
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("source", [{"kind": "idx", "path": "nowhere"}, {"kind": "npz", "path": "nowhere.npz"}])
def test_a_missing_file_is_found_before_anything_runs(source, tmp_path):
    with pytest.raises(RequestError, match="nowhere"):
        sources.check(config(source))
    with pytest.raises(RequestError, match="nowhere"):
        dataset_digest(config(source))
    with pytest.raises(RequestError, match="nowhere"):
        preprocess(config(source), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("end", ["", ".gz"])
def test_the_files_of_mnist_are_found_with_a_dot_in_their_names_too(end, tmp_path):
    raw = config({"kind": "idx", "path": str(mnist_folder(tmp_path / "raw", *examples(100), packed=bool(end)))})
    digest = dataset_digest(raw)
    for path in (tmp_path / "raw").iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert dataset_digest(raw) == digest
    mnist_folder(tmp_path / "raw", *examples(100), packed=True)
    both = f"train-images-idx3-ubyte.gz and train-images.idx3-ubyte{end}; leave one there, or name the files"
    with pytest.raises(RequestError, match=re.escape(both)):
        sources.check(raw)


@pytest.mark.parametrize("kind", ["npz", "idx"])
def test_a_name_that_no_file_can_have_is_told_in_a_line(kind):
    with pytest.raises(RequestError, match="cannot be looked for: File name too long"):
        sources.check(config({"kind": kind, "path": "x" * 300}))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not read")
def test_a_file_that_may_not_be_read_is_told_in_a_line(tmp_path):
    np.savez(tmp_path / "x.npz", image=examples(10)[0])
    (tmp_path / "x.npz").chmod(0)
    tmp_path.chmod(0o755)
    code = (
        "import os; from preprocessing import files; from elboflow.settings import RequestError\n"
        "os.chdir(os.environ['PLACE']); os.setuid(65534)\n"
        "try: files.require('x.npz', 'data.source')\n"
        "except RequestError as error: print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "PLACE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, encoding="utf-8")
    assert done.stdout == "data.source: x.npz cannot be read: Permission denied\n", done.stderr


def test_a_missing_held_out_part_is_found_before_anything_runs(tmp_path):
    folder = mnist_folder(tmp_path / "raw", *examples(10))
    with pytest.raises(RequestError, match="no held-out part"):
        sources.check(config({"kind": "idx", "path": str(folder)}, splits={"train": 1.0, "test": "source"}))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda content: content[:-100], "truncated"),
        (lambda content: content[:6], "truncated"),
        (lambda content: content + b"12", "too long|more bytes than its header"),
        (lambda content: b"PNG!" + content[4:], "not an idx file: it begins with 50 4e 47 21"),
        (lambda content: b"", "not an idx file: it begins with nothing"),
    ],
    ids=["truncated", "truncated in its header", "too long", "another format", "empty"],
)
def test_a_damaged_idx_file_is_named(tmp_path, damage, match, packed):
    folder = mnist_folder(tmp_path / "raw", *examples(50), packed=packed)
    path = folder / (FILES[0] + (".gz" if packed else ""))
    content = damage(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    path.write_bytes(gzip.compress(content) if packed else content)
    refused(
        config({"kind": "idx", "path": str(folder)}), tmp_path / "out", f"{path.name} .*({match})|{path.name} {match}"
    )


@pytest.mark.parametrize("where", [30, -6, 500])
def test_a_corrupted_or_truncated_gzip_stream_is_named(tmp_path, where):
    folder = mnist_folder(tmp_path / "raw", *examples(50), packed=True)
    path = folder / (FILES[0] + ".gz")
    content = bytearray(path.read_bytes())
    content[where] ^= 0xFF
    path.write_bytes(content)
    refused(config({"kind": "idx", "path": str(folder)}), tmp_path / "out", f"{path.name} (is|holds)")
    path.write_bytes(content[:300])
    refused(config({"kind": "idx", "path": str(folder)}), tmp_path / "out", f"{path.name}(:| is)")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_an_idx_file_with_more_dimensions_than_an_array_can_have_is_named(tmp_path, packed):
    folder = mnist_folder(tmp_path / "raw", np.zeros((20, 6, 6), np.uint8), np.zeros(20, np.uint8), packed=packed)
    content = struct.pack(">4B100I", 0, 0, 8, 100, 20, *[1] * 99) + bytes(20)
    (folder / (FILES[0] + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
    refused(config({"kind": "idx", "path": str(folder)}), tmp_path / "out", f"{FILES[0]}.* has 100 dimensions")


@trying(max_examples=300, deadline=None)
@given(data=st.data(), save=st.sampled_from([np.savez, np.savez_compressed]))
def test_an_npz_file_with_changed_bytes_is_read_or_named(tmp_path_factory, data, save):
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    images, labels = examples(20)
    save(path, image=images, label=labels)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(-250, 199))] = data.draw(st.integers(0, 255))  # zip's directory, NumPy's header
    path.write_bytes(content)
    source = sources.open_source(config({"kind": "npz", "path": str(path)}))
    message = path.name
    try:
        for unit in source.units():
            list(source.read(unit))
    except WorkError as error:
        message = str(error)
    assert path.name in message


@pytest.mark.parametrize(
    ("record", "field", "value"),
    [
        (b"PK\x01\x02", 6, 0xFF),
        (b"PK\x01\x02", 8, 0x01),
        (b"PK\x01\x02", 8, 0x20),
        (b"PK\x01\x02", 10, 99),
        (b"PK\x05\x06", 18, 0x01),
    ],
    ids=["a newer zip", "encrypted", "patched", "an unknown method", "begins before the file"],
)
def test_an_npz_file_whose_directory_is_damaged_is_named(tmp_path, record, field, value):
    images, labels = examples(20)
    np.savez(tmp_path / "x.npz", image=images, label=labels)
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[content.index(record) + field] = value
    (tmp_path / "x.npz").write_bytes(content)
    refused(config({"kind": "npz", "path": str(tmp_path / "x.npz")}), tmp_path / "out", r"x\.npz is not a whole \.npz")


def test_files_of_different_lengths_are_refused(tmp_path):
    images, labels = examples(50)
    folder = mnist_folder(tmp_path / "raw", images, labels[:49])
    settings = config({"kind": "idx", "path": str(folder)})
    refused(settings, tmp_path / "out", "images-idx3-ubyte holds 50, .*labels-idx1-ubyte holds 49")


def test_an_empty_source_is_refused(tmp_path):
    folder = mnist_folder(tmp_path / "raw", *examples(0))
    refused(config({"kind": "idx", "path": str(folder)}), tmp_path / "out", "the source is empty")


def test_a_shape_that_differs_from_the_config_is_refused(tmp_path):
    folder = mnist_folder(tmp_path / "raw", *examples(50, side=7))
    refused(
        config({"kind": "idx", "path": str(folder)}),
        tmp_path / "out",
        r"'image' has the shape \[7, 7\]; data.features.image.shape says \[6, 6, 1\]",
    )


def test_a_split_that_comes_out_empty_is_refused(tmp_path):
    folder = mnist_folder(tmp_path / "raw", *examples(20))
    settings = config({"kind": "idx", "path": str(folder)}, splits={"train": 0.999, "test": 0.001})
    refused(settings, tmp_path / "out", "the split 'test' came out empty: data.splits gives it 0.001 of 20 examples")


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.nan, "example 7 has the value nan in its feature 'image'; a finite number"),
        (-np.inf, "example 7 has the value -inf"),
        (255.5, "range allows 0 to 255"),
        (-1, "range allows 0 to 255"),
        (0.5, "whole numbers are expected; the values lie .*: write quantise: true at data.features.image"),
    ],
)
def test_an_unfit_value_is_named(tmp_path, value, match):
    images, labels = examples(20)
    images = images.astype(np.float64)
    images[7, 2, 3] = value
    np.savez(tmp_path / "raw.npz", image=images, label=labels)
    refused(config({"kind": "npz", "path": str(tmp_path / "raw.npz")}), tmp_path / "out", match)


@pytest.mark.parametrize(
    ("label", "feature", "match"),
    [
        (1.5, {"kind": "category"}, "example 7 has the value 1.5 in its feature 'label'; a category is a whole number"),
        (np.nan, {"kind": "category"}, "nan"),
        (-1.0, {"kind": "category"}, "0 or more"),
        (10.0, {"kind": "category", "classes": 10}, "0 to 9"),
    ],
)
def test_an_unfit_label_is_named(tmp_path, label, feature, match):
    images, labels = examples(20)
    labels = labels.astype(np.float64)
    labels[7] = label
    np.savez(tmp_path / "raw.npz", image=images, label=labels)
    settings = config({"kind": "npz", "path": str(tmp_path / "raw.npz")})
    settings = type(settings).model_validate(
        {**settings.model_dump(), "features": {"image": settings.features["image"].model_dump(), "label": feature}}
    )
    refused(settings, tmp_path / "out", match)


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        (np.nan, "example 7 has the value nan in its feature 'weight'; a number must be finite"),
        (np.inf, "example 7 has the value inf in its feature 'weight'"),
        (1e39, r"example 7 has the value 1e\+39 in its feature 'weight'; a number must be finite, in float32, too"),
    ],
)
def test_an_unfit_number_is_named(tmp_path, weight, match):
    weights = np.ones(20)
    weights[7] = weight
    refused(weighted(tmp_path / "raw.npz", weights), tmp_path / "out", match)


def test_more_than_one_number_per_example_is_refused(tmp_path):
    refused(
        weighted(tmp_path / "raw.npz", np.ones((20, 2))), tmp_path / "out", r"float64 of shape \[2\]; a number is one"
    )


def test_an_npz_is_never_unpickled(tmp_path):
    images, _ = examples(20)
    np.savez(tmp_path / "raw.npz", image=images, label=np.array([object()] * 20, dtype=object))
    refused(
        config({"kind": "npz", "path": str(tmp_path / "raw.npz")}), tmp_path / "out", r"objects.*array\.astype\(str\)"
    )


def test_a_npy_file_is_told_from_an_npz_with_how_to_make_one(tmp_path):
    np.save(tmp_path / "raw.npy", examples(20)[0])
    refused(
        config({"kind": "npz", "path": str(tmp_path / "raw.npy")}),
        tmp_path / "out",
        r"raw\.npy is a \.npy file, of one array; .*numpy\.savez\('NAME\.npz', image=numpy\.load\('NAME\.npy'\)\)",
    )


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("keep", [0.5, 0.98, 0.0])
def test_a_truncated_npz_is_named(tmp_path, save, keep):
    images, labels = examples(200)
    path = tmp_path / "raw.npz"
    save(path, image=images, label=labels)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    refused(config({"kind": "npz", "path": str(path)}), tmp_path / "out", "raw.npz is not a whole .npz file")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_corrupted_npz_is_named(tmp_path, save):
    images, labels = examples(200)
    path = tmp_path / "raw.npz"
    save(path, image=images, label=labels)
    content = bytearray(path.read_bytes())
    content[2000] ^= 0xFF
    path.write_bytes(content)
    refused(config({"kind": "npz", "path": str(path)}), tmp_path / "out", "raw.npz is not a whole .npz file")


def test_an_array_that_the_npz_has_not_is_named_with_those_it_has(tmp_path):
    images, labels = examples(20)
    np.savez(tmp_path / "raw.npz", image=images, y=labels)
    refused(
        config({"kind": "npz", "path": str(tmp_path / "raw.npz")}),
        tmp_path / "out",
        r"no array 'label'; it holds \['image', 'y'\]",
    )


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    folder = mnist_folder(tmp_path / "raw", *examples(20))
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(RequestError, match=r"cannot write the dataset to .*file"):
        preprocess(config({"kind": "idx", "path": str(folder)}), tmp_path / "file")


def test_idx_values_of_every_type_are_read(tmp_path):
    images, labels = examples(60)
    mnist_folder(tmp_path / "raw", images, labels)
    wide = idx(images)[:2] + b"\x0b" + idx(images)[3:16] + images.astype(">i2").tobytes()
    (tmp_path / "raw" / FILES[0]).write_bytes(wide)
    made = preprocess(config({"kind": "idx", "path": str(tmp_path / "raw")}), tmp_path / "out")
    assert sum(made.manifest.counts.values()) == 60
