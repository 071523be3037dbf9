"""The storage server, asked by the real clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from elboflow.testing.platforms.storage import StorageServer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageServer]:
    with StorageServer(tmp_path / "storage", "bucket") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


def test_google_cloud_storage_writes_reads_lists_copies_and_deletes(server: StorageServer):
    from google.api_core.exceptions import Conflict, NotFound
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    client = storage.Client(project="project", credentials=AnonymousCredentials())
    bucket = client.bucket("bucket")
    content = bytes(range(256)) * 5_000 + b"\r\n--"
    bucket.blob("a/b c.bin").upload_from_string(content)
    assert (server.folder / "bucket" / "a" / "b c.bin").read_bytes() == content
    assert bucket.blob("a/b c.bin").download_as_bytes() == content
    assert bucket.blob("a/b c.bin").download_as_bytes(start=3, end=5) == content[3:6]
    large = bucket.blob("large.bin", chunk_size=256 * 1024)
    large.upload_from_string(content)
    assert large.download_as_bytes() == content
    bucket.copy_blob(large, bucket, "copy.bin")
    assert [blob.name for blob in client.list_blobs("bucket", page_size=2)] == ["a/b c.bin", "copy.bin", "large.bin"]
    listed = client.list_blobs("bucket", delimiter="/")
    assert [blob.name for blob in listed] == ["copy.bin", "large.bin"]
    assert listed.prefixes == {"a/"}
    with client.batch():
        bucket.blob("copy.bin").delete()
        bucket.blob("large.bin").delete()
    assert [blob.name for blob in client.list_blobs("bucket")] == ["a/b c.bin"]
    with pytest.raises(NotFound):
        bucket.blob("copy.bin").download_as_bytes()
    with pytest.raises(Conflict):
        client.create_bucket("bucket")
    client.create_bucket("another")
    assert client.bucket("another").exists()
    assert not client.bucket("absent").exists()


@pytest.mark.xdist_group("beam")
def test_beam_writes_and_reads_its_files_there(server: StorageServer, monkeypatch: pytest.MonkeyPatch):
    from apache_beam.internal.gcp import auth
    from apache_beam.io.filesystems import FileSystems

    monkeypatch.setattr(auth._Credentials, "_credentials_init", True)  # or it would look for credentials for a minute
    with FileSystems.create("gs://bucket/part/x.txt") as file:
        file.write(b"hello")
    assert (server.folder / "bucket" / "part" / "x.txt").read_bytes() == b"hello"
    with FileSystems.open("gs://bucket/part/x.txt") as file:
        assert file.read() == b"hello"
    found = FileSystems.match(["gs://bucket/part/*"])[0].metadata_list
    assert [(entry.path, entry.size_in_bytes) for entry in found] == [("gs://bucket/part/x.txt", 5)]
    FileSystems.rename(["gs://bucket/part/x.txt"], ["gs://bucket/y.txt"])
    assert [path.name for path in (server.folder / "bucket").rglob("*") if path.is_file()] == ["y.txt"]
    FileSystems.delete(["gs://bucket/y.txt"])
    assert not FileSystems.exists("gs://bucket/y.txt")
