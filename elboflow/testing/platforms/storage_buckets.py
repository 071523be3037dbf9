"""The buckets of Cloud Storage's double, and the files in them."""

import base64
import hashlib
import mimetypes
import re
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import google_crc32c

from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.wire import WireServer, route


class Buckets(WireServer):
    """Buckets in a folder, and what is the same for all requests of objects."""

    def __init__(self, folder: Path, *buckets: str, token: str | None = None) -> None:
        super().__init__(token)
        self.folder = folder
        for bucket in buckets:
            (folder / bucket).mkdir(parents=True)

    def problem(self, refusal: RefusedError) -> Reply:
        errors = [{"message": refusal.message, "domain": "global", "reason": "injected"}]
        error = {"code": refusal.status, "message": refusal.message, "errors": errors}
        return answer({"error": error}, refusal.status)

    @route("GET", "/storage/v1/b/{bucket}")
    def bucket(self, request: Request, bucket: str) -> Reply:
        """Returns a bucket."""
        self.bucket_at(bucket)
        return answer(_bucket(bucket))

    @route("GET", "/storage/v1/b")
    def buckets(self, request: Request) -> Reply:
        """Lists the buckets."""
        return answer(
            {"kind": "storage#buckets", "items": [_bucket(path.name) for path in sorted(self.folder.iterdir())]}
        )

    @route("POST", "/storage/v1/b")
    def make_bucket(self, request: Request) -> Reply:
        """Makes a bucket."""
        name = request.json().get("name", "")
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", name):
            raise RefusedError(400, f"Invalid bucket name: '{name}'")
        if (self.folder / name).exists():
            raise RefusedError(
                409, "Your previous request to create the named bucket succeeded and you already own it."
            )
        (self.folder / name).mkdir(parents=True)
        return answer(_bucket(name))

    @route("GET", "/storage/v1/b/{bucket}/iam/testPermissions")
    def permissions(self, request: Request, bucket: str) -> Reply:
        """Says which of the permissions asked for one has: all."""
        self.bucket_at(bucket)
        return answer(
            {"kind": "storage#testIamPermissionsResponse", "permissions": request.query.get("permissions", [])}
        )

    def bucket_at(self, bucket: str) -> Path:
        """Returns the folder of a bucket."""
        if not (self.folder / bucket).is_dir():
            raise RefusedError(404, "The specified bucket does not exist.")
        return self.folder / bucket

    def path(self, bucket: str, name: str) -> Path:
        """Returns the file of an object, which need not be there."""
        path = self.bucket_at(bucket) / name
        if not name or ".." in Path(name).parts:
            raise RefusedError(400, f"Invalid object name: '{name}'")
        return path

    def existing(self, bucket: str, name: str) -> Path:
        """Returns the file of an object that is there."""
        path = self.path(bucket, name)
        if not path.is_file():
            raise RefusedError(404, f"No such object: {bucket}/{name}")
        return path

    def may_write(self, request: Request, bucket: str, name: str) -> None:
        """Refuses to write an object that is not to be there yet."""
        if request.one("ifGenerationMatch") == "0" and self.path(bucket, name).is_file():
            raise RefusedError(412, "At least one of the pre-conditions you specified did not hold.")

    def write(self, bucket: str, name: str, content: bytes) -> dict[str, Any]:
        """Writes an object all at once, and returns it as the API describes it."""
        path = self.path(bucket, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.folder.parent, delete=False) as file:
            file.write(content)
        shutil.move(file.name, path)
        return self.object_at(bucket, name)

    def object_at(self, bucket: str, name: str) -> dict[str, Any]:
        """Returns an object as the API describes it."""
        path = self.existing(bucket, name)
        content, stat = path.read_bytes(), path.stat()
        written = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat().replace("+00:00", "Z")
        address = f"{self.url}/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/{stat.st_mtime_ns}",
            "selfLink": address,
            "mediaLink": f"{self.url}/download{urlsplit(address).path}?alt=media",
            "name": name,
            "bucket": bucket,
            "generation": str(stat.st_mtime_ns),
            "metageneration": "1",
            "contentType": mimetypes.guess_type(name)[0] or "application/octet-stream",
            "size": str(stat.st_size),
            "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode(),
            "crc32c": base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode(),
            "timeCreated": written,
            "updated": written,
            "storageClass": "STANDARD",
        }


def _bucket(name: str) -> dict[str, Any]:
    """Returns a bucket as the API describes it."""
    return {"kind": "storage#bucket", "id": name, "name": name, "projectNumber": "123456789", "location": "US"}
