"""Cloud Storage's JSON API on a folder: `FOLDER/BUCKET/OBJECT` are plain files, which runs reach through their mount.

Enough of it for google-cloud-storage, Beam's gcsio and the Vertex AI client, which find it by STORAGE_EMULATOR_HOST.
"""

import email.parser
import email.policy
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.storage_buckets import Buckets
from elboflow.testing.platforms.wire import route


class StorageServer(Buckets):
    """Buckets in a folder.

    Attributes:
        folder: With a folder for each bucket.
    """

    def __init__(self, folder: Path, *buckets: str, token: str | None = None) -> None:
        super().__init__(folder, *buckets, token=token)
        self._uploads: dict[str, tuple[str, str, bytearray]] = {}

    @route("GET", "/storage/v1/b/{bucket}/o")
    def objects(self, request: Request, bucket: str) -> Reply:
        """Lists objects by prefix and delimiter, in pages."""
        prefix, delimiter = request.one("prefix"), request.one("delimiter")
        folder, size = self.bucket_at(bucket), int(request.one("maxResults") or 1000)
        found, prefixes = [], set()
        for path in sorted(_files(folder)):
            name = path.relative_to(folder).as_posix()
            if not name.startswith(prefix) or name <= request.one("pageToken"):
                continue
            inner, cut, _ = name.removeprefix(prefix).partition(delimiter) if delimiter else (name, "", "")
            if cut:
                prefixes.add(f"{prefix}{inner}{delimiter}")
            else:
                found.append(name)
        page: dict[str, Any] = {"kind": "storage#objects", "prefixes": sorted(prefixes)}
        page["items"] = [self.object_at(bucket, name) for name in found[:size]]
        if len(found) > size:
            page["nextPageToken"] = found[size - 1]
        return answer(page)

    @route("GET", "/storage/v1/b/{bucket}/o/{name}")
    @route("GET", "/download/storage/v1/b/{bucket}/o/{name}")
    def object(self, request: Request, bucket: str, name: str) -> Reply:
        """Returns an object's metadata or, with alt=media, its content or a range of it."""
        described = self.object_at(bucket, name)
        if request.one("alt") != "media":
            return answer(described)
        content = self.path(bucket, name).read_bytes()
        headers = {"X-Goog-Hash": f"crc32c={described['crc32c']},md5={described['md5Hash']}"}
        headers["X-Goog-Generation"] = described["generation"]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if wanted is None:
            return Reply(content, kind=described["contentType"], headers=headers)
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        if first >= len(content):
            raise RefusedError(416, "The requested range cannot be satisfied.")
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return Reply(content[first : last + 1], 206, described["contentType"], headers)

    @route("DELETE", "/storage/v1/b/{bucket}/o/{name}")
    def delete(self, request: Request, bucket: str, name: str) -> Reply:
        """Deletes an object."""
        path = self.existing(bucket, name)
        path.unlink()
        while path.parent != self.folder / bucket and not any(path.parent.iterdir()):
            path = path.parent
            path.rmdir()
        return Reply(status=204)

    @route("POST", "/upload/storage/v1/b/{bucket}/o")
    def upload(self, request: Request, bucket: str) -> Reply:
        """Writes an object: media, multipart, or the beginning of a resumable upload."""
        kind, name = request.one("uploadType"), request.one("name")
        content = request.body
        if kind == "multipart":
            described, content = _multipart(request)
            name = name or described.get("name", "")
        elif kind == "resumable":
            name = name or request.json().get("name", "")
        self.may_write(request, bucket, name)
        if kind != "resumable":
            return answer(self.write(bucket, name, content))
        upload = os.urandom(8).hex()
        self._uploads[upload] = (bucket, name, bytearray())
        place = f"{self.url}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={upload}"
        return Reply(headers={"Location": place, "X-GUploader-UploadID": upload})

    @route("PUT", "/upload/storage/v1/b/{bucket}/o")
    def resume(self, request: Request, bucket: str) -> Reply:
        """Takes a part of a resumable upload."""
        if request.one("upload_id") not in self._uploads:
            raise RefusedError(404, "No such upload")
        _, name, content = self._uploads[request.one("upload_id")]
        told = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", request.headers.get("content-range", "bytes 0-0/*"))
        if told is None:
            raise RefusedError(400, "Failed to parse Content-Range header.")
        if "content-range" not in request.headers:
            return answer(self.write(bucket, name, request.body))
        if told[1] is not None:
            del content[int(told[1]) :]
            content += request.body
        if told[3] != "*" and len(content) == int(told[3]):
            return answer(self.write(bucket, name, bytes(content)))
        return Reply(status=308, headers={"Range": f"bytes=0-{len(content) - 1}"} if content else {})

    @route("POST", "/storage/v1/b/{bucket}/o/{name}/rewriteTo/b/{to}/o/{new}")
    @route("POST", "/storage/v1/b/{bucket}/o/{name}/copyTo/b/{to}/o/{new}")
    def copy(self, request: Request, bucket: str, name: str, to: str, new: str) -> Reply:
        """Copies an object, all at once."""
        self.may_write(request, to, new)
        written = self.write(to, new, self.existing(bucket, name).read_bytes())
        if "/copyTo/" in request.path:
            return answer(written)
        size = written["size"]
        return answer({"done": True, "totalBytesRewritten": size, "objectSize": size, "resource": written})

    @route("POST", "/storage/v1/b/{bucket}/o/{name}/compose")
    def compose(self, request: Request, bucket: str, name: str) -> Reply:
        """Joins objects."""
        self.may_write(request, bucket, name)
        sources = [source["name"] for source in request.json()["sourceObjects"]]
        return answer(self.write(bucket, name, b"".join(self.existing(bucket, part).read_bytes() for part in sources)))

    @route("POST", "/batch/storage/v1")
    def batch(self, request: Request) -> Reply:
        """Answers several requests in one."""
        boundary = f"batch_{os.urandom(8).hex()}"
        answers = []
        for part in parts(request):
            head, _, rest = part.get_payload(decode=True).decode().partition("\r\n")
            method, target, _ = head.split(" ", 2)
            split = urlsplit(target)
            body = rest.partition("\r\n\r\n")[2].encode()
            inner = Request(method, split.path, parse_qs(split.query), request.headers, body)
            served = self.serve(inner)  # text where a fault garbles the connection
            reply = served if isinstance(served, Reply) else self.problem(RefusedError(503, "reset"))
            answers.append(
                f"--{boundary}\r\nContent-Type: application/http\r\n\r\n"
                f"HTTP/1.1 {reply.status} X\r\nContent-Type: {reply.kind}\r\n\r\n{reply.body.decode()}\r\n"
            )
        body = "".join([*answers, f"--{boundary}--\r\n"]).encode()
        return Reply(body, kind=f'multipart/mixed; boundary="{boundary}"')


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def parts(request: Request) -> list[Any]:
    """Returns the parts of a multipart request."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    return list(email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body).iter_parts())


def _multipart(request: Request) -> tuple[dict[str, Any], bytes]:
    """Returns the metadata and the content of a multipart upload, byte for byte."""
    found = re.search(r'boundary="?([^";]+)', request.headers.get("content-type", ""))
    if found is None:
        raise RefusedError(400, "Bad multipart content type")
    _, first, second, *_ = re.split(
        rb"(?:\r\n|^)--" + re.escape(found[1].encode()) + rb"(?:--)?(?:\r\n|$)", request.body
    )
    return json.loads(first.split(b"\r\n\r\n", 1)[1]), second.split(b"\r\n\r\n", 1)[1]
