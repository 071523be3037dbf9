"""What a step whose request was wrong leaves for its next try, which then ends at once and with the same words.

A platform retries a failed step after any exit code. Where the reason is kept, beside the step's output:

- on this machine, on Vertex AI (whose steps see their bucket as a folder) and on a volume: in a file;
- in a pod of Kubeflow Pipelines with artifacts in `gs://`: in the bucket itself, because the pod's folder ends with it;
- in a pod with artifacts in MinIO or S3: nowhere. The store's credentials are the launcher's alone, and it uploads what
  succeeded. There each try makes the request again and finds out anew that it is wrong, as a rule within seconds.

Who repeats the run (`elboflow runs retry`) may have mended what was wrong. Kubeflow then gives the step the same
outputs, and each of its pods the name of the one that it replaces: what a pod of the same name left no longer counts.
"""

import logging
import os
from pathlib import Path
from typing import Any, Protocol

from components.tracking.platform_runs import POD

REFUSAL = "refused.txt"
"""The name of what is left beside a step's output."""

_BUCKETS = "/gcs/"  # where KFP puts the artifacts of gs://
_SECONDS = 10.0

logger = logging.getLogger("elboflow")


class Refusal(Protocol):
    """The place of a reason."""

    def read(self) -> str | None:
        """Returns the reason that an earlier try left; None where there is none, or it cannot be read."""

    def leave(self, reason: str) -> None:
        """Leaves a reason. Where that fails, a warning says so: the next try comes to the same end by itself."""


def beside(output_file: str) -> Refusal:
    """Returns the place for the reason of the step that has this output."""
    if POD in os.environ and output_file.startswith(_BUCKETS):
        bucket, _, name = output_file.removeprefix(_BUCKETS).partition("/")
        return _InBucket(bucket, f"{name.rpartition('/')[0]}/{REFUSAL}")
    return _InFile(Path(output_file).with_name(REFUSAL))


class _InFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str | None:
        return self._path.read_text(encoding="utf-8", errors="replace") if self._path.is_file() else None

    def leave(self, reason: str) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(reason, encoding="utf-8")
        except OSError as error:
            logger.warning("could not write %s: %s", self._path, error.strerror)


class _InBucket:
    def __init__(self, bucket: str, name: str) -> None:
        self._bucket, self._name = bucket, name

    def read(self) -> str | None:
        from google.api_core.exceptions import NotFound

        try:
            pod, _, reason = str(self._blob().download_as_text(timeout=_SECONDS, retry=None)).partition("\n")
            return None if pod == os.environ[POD] else reason
        except NotFound:
            return None
        except Exception as error:  # no error here is a reason to refuse
            logger.warning("could not look for gs://%s/%s: %s", self._bucket, self._name, _line(error))
            return None

    def leave(self, reason: str) -> None:
        try:
            self._blob().upload_from_string(f"{os.environ[POD]}\n{reason}", timeout=_SECONDS, retry=None)
        except Exception as error:
            logger.warning("could not write gs://%s/%s: %s", self._bucket, self._name, _line(error))

    def _blob(self) -> Any:
        from components.surroundings import servers

        servers.watch()
        from google.cloud.storage import Client

        return Client(project=None).bucket(self._bucket).blob(self._name)


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
