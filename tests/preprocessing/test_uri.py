"""A dataset on a file system of Beam's, such as gs://, here one that keeps its bucket in a local folder."""

from pathlib import Path

import numpy as np
from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem

from preprocessing import sources
from preprocessing.pipeline import preprocess
from preprocessing.reader import open_dataset
from tests.preprocessing.raw_files import config, examples, mnist_folder

BUCKET = "bucket://"


class Bucket(LocalFileSystem):
    """bucket:///tmp/x is the local file /tmp/x. Beam finds it because it is a FileSystem."""

    @classmethod
    def scheme(cls):
        return "bucket"

    def join(self, base, *paths):
        return "/".join([base, *paths])

    def exists(self, path):
        return super().exists(path.removeprefix(BUCKET))

    def open(self, path, *arguments, **settings):
        return super().open(path.removeprefix(BUCKET), *arguments, **settings)

    def create(self, path, *arguments, **settings):
        return super().create(path.removeprefix(BUCKET), *arguments, **settings)

    def rename(self, before, after):
        super().rename([path.removeprefix(BUCKET) for path in before], [path.removeprefix(BUCKET) for path in after])

    def delete(self, paths):
        super().delete([path.removeprefix(BUCKET) for path in paths])

    def _list(self, folder):
        for found in super()._list(folder.removeprefix(BUCKET)):
            yield FileMetadata(BUCKET + found.path, found.size_in_bytes, found.last_updated_in_seconds)


def test_a_dataset_at_a_uri_is_what_it_is_on_this_machine(tmp_path):
    folder = mnist_folder(tmp_path / "raw", *examples(200), packed=True)
    near, far = (config({"kind": "idx", "path": f"{where}{folder}"}) for where in ("", BUCKET))
    preprocess(near, tmp_path / "near")
    sources.check(far)
    assert not preprocess(far, f"{BUCKET}{tmp_path}/far").reused
    assert preprocess(far, f"{BUCKET}{tmp_path}/far").reused
    names = sorted(path.name for path in (tmp_path / "near").iterdir())
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == names
    assert all((tmp_path / "near" / name).read_bytes() == (tmp_path / "far" / name).read_bytes() for name in names)
    left, right = open_dataset(tmp_path / "near").read("train"), open_dataset(f"{BUCKET}{tmp_path}/far").read("train")
    assert all(np.array_equal(left[name], right[name]) for name in left)


def test_a_uri_is_never_taken_for_a_local_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = mnist_folder(tmp_path / "raw", *examples(100))
    preprocess(config({"kind": "idx", "path": str(folder)}), f"{BUCKET}{tmp_path}/far")
    assert not list(Path(tmp_path).glob("bucket*"))
