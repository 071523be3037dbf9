"""Access to buckets, `gs://…`: a first request with a timeout, and errors in one sentence.

Without a network, Beam and Google's client retry for two minutes without a log line, and end in nested errors. So the
first request of a process to a bucket has a timeout.
"""

import errno
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from contextlib import contextmanager, suppress
from http import HTTPStatus
from io import RawIOBase
from typing import TYPE_CHECKING, Any, BinaryIO

from elboflow.settings import RequestError, WorkError

if TYPE_CHECKING:
    import requests

LOG = logging.getLogger("elboflow.preprocessing")
NOTICE = 10.0
"""Seconds without an answer after which a warning is logged."""
PATIENCE = 20.0
"""Seconds within which a bucket must answer for the first time."""

_CONNECT, _READ, _RETRIES = 5.0, 10.0, 15.0  # timeouts of Google's client, seconds: connect, read, all retries
_LONGEST_REASON = 200
_DENIED = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class DeniedError(WorkError):
    """The account has no permission for a request to a bucket."""


def reach(uri: str) -> None:
    """Waits until a bucket has answered this process for the first time; an error is an answer, too.

    Args:
        uri: The file to ask for. It need not exist. (A request for another file would need permission to list.)

    Raises:
        WorkError: The bucket does not answer within `PATIENCE`.
    """
    bucket = "/".join(uri.split("/")[:3])
    if bucket in _reached:
        return
    answer: Future[None] = Future()

    def ask() -> None:
        try:
            with explained(bucket):
                _request(uri)
            answer.set_result(None)
        except BaseException as error:
            answer.set_exception(error)

    # A daemon thread, because some of its waits have no timeout (name resolution), and must not delay the exit.
    threading.Thread(target=ask, daemon=True).start()
    try:
        try:
            answer.result(NOTICE)
        except NotInTime:
            LOG.warning("waiting for %s: no answer for %.0f s", bucket, NOTICE)
            answer.result(PATIENCE - NOTICE)
    except NotInTime:
        raise WorkError(f"{bucket} cannot be reached: no answer within {PATIENCE:.0f} s") from None
    _reached.add(bucket)


_reached: set[str] = set()


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turns errors of Beam and of Google's client about a bucket into one sentence.

    Raises:
        FileNotFoundError: There is no such file.
        WorkError: The bucket cannot be reached, or denies access (`DeniedError`).
    """
    try:
        yield
    except (RequestError, WorkError, TypeError, AttributeError, LookupError, AssertionError):
        raise  # explained already, or a bug
    except Exception as error:  # the errors of Beam and of Google's client have no common class
        chain = _chain(error)
        answer = next((e.response for e in chain if getattr(e, "response", None) is not None), None)
        if answer is not None and answer.status_code == HTTPStatus.NOT_FOUND:
            raise FileNotFoundError(errno.ENOENT, "there is no such file or bucket", uri) from None
        if answer is not None and answer.status_code in _DENIED:
            raise DeniedError(f"{uri} cannot be used: {_denial(answer)}") from None
        raise WorkError(f"{uri} cannot be reached: {_reason(chain)}") from None


class Reading(RawIOBase):
    """A readable file of a bucket; its errors name the file."""

    def __init__(self, uri: str, file: BinaryIO) -> None:
        self._uri, self._file = uri, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with explained(self._uri):
            content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = 0) -> int:
        with explained(self._uri):
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


def _request(uri: str) -> None:
    import google.auth
    from google.api_core.exceptions import ClientError
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud.storage import Blob, Client
    from google.cloud.storage.retry import DEFAULT_RETRY

    try:
        credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
        client = Client(project=project, credentials=credentials)
    except DefaultCredentialsError:
        credentials, client = None, Client.create_anonymous_client()
    with suppress(ClientError):  # an error is an answer, too; the real request reports what it means
        Blob.from_uri(uri).exists(client, timeout=(_CONNECT, _READ), retry=DEFAULT_RETRY.with_timeout(_RETRIES))
    if credentials is None:
        LOG.warning("no Google credentials are here: %s is asked without any, for which Beam takes a minute", uri)


def _chain(error: BaseException) -> list[Any]:
    """Returns an error and its causes, the outermost first."""
    from apache_beam.io.filesystem import BeamIOError

    chain: list[Any] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        inner = list((cause.exception_details or {}).values()) if isinstance(cause, BeamIOError) else []
        cause = next((e for e in inner if isinstance(e, BaseException)), cause.__cause__ or cause.__context__)
    return chain


def _denial(answer: "requests.Response") -> str:
    """Returns the status of a denied request, and the server's message."""
    said = answer.reason
    with suppress(ValueError, KeyError, TypeError):
        said = answer.json()["error"]["message"]
    status = HTTPStatus(answer.status_code)
    return f"{status} {status.phrase}, {str(said).partition(chr(10))[0][:_LONGEST_REASON]}"


def _reason(chain: list[Any]) -> str:
    for error in reversed(chain):
        if isinstance(error, TimeoutError):
            return "no answer in time"
        if isinstance(error, OSError) and error.strerror:
            return str(error.strerror)
    return _line(chain[-1])


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:_LONGEST_REASON] or type(error).__name__
