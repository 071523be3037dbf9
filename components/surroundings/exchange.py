"""One request and its response: limits on time and on bytes, which `connections` checks before every read and write."""

import math
import re
import socket
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime

from components.surroundings import waiting
from components.surroundings.waiting import Server

ANSWER_BYTES = 64 * 2**20
FILE_BYTES = 64 * 2**30
FILE_BYTES_PER_SECOND = 10_000
"""The slowest transfer of a file that is not given up."""

_STORED_BYTES_PER_SECOND = 10_000_000  # at which a server may pass an upload on before it answers
# MLflow's files; Cloud Storage's, and addresses that S3, Cloud Storage or Azure have signed.
_FILE = re.compile(
    r"/mlflow-artifacts/artifacts/|/get-artifact\b|/(down|up)load/storage/|[?&](alt=media|uploadType=|sig=)"
    r"|[?&]X-(Amz|Goog)-Signature="
)


class Exchange:
    """A request and its response, with the time and the bytes that it may still take.

    Args:
        server: The server of the request.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.socket: socket.socket | None = None
        self._begun = time.monotonic()
        self._file = False
        self._sent = self._received = 0
        server.asked()
        waiting.in_progress.add(self)

    def is_for(self, target: str) -> None:
        """Says what is asked for: the path and query of the request."""
        self._file = is_file(target)

    def remaining(self, timeout: float | None) -> float | None:
        """Returns the seconds that the next byte may take; None for any number.

        Args:
            timeout: What the client itself allows.

        Raises:
            NoAnswerError: No time is left.
        """
        silence = waiting.ANSWER_SECONDS
        ends = self._begun + self.server.limit(waiting.ANSWER_SECONDS)
        if self._file:
            silence = max(silence, self._sent / _STORED_BYTES_PER_SECOND)
            ends += (self._sent + self._received) / FILE_BYTES_PER_SECOND
        left = min(self.server.left(silence if self._file else 0.0), max(silence, self.server.seconds))
        now = time.monotonic()
        if ends <= now:
            self.server.give_up(f"did not end its answer within {now - self._begun:.0f} s")
        least = min(left, ends - now, math.inf if timeout is None else timeout)
        return None if math.isinf(least) else least

    def failed(self, why: str) -> None:
        """It broke off; another try may follow.

        Raises:
            NoAnswerError: It is too late for one.
        """
        waiting.in_progress.discard(self)
        self.server.failed(why)

    def sent(self, size: int) -> None:
        """Some bytes have gone."""
        self._sent += size
        if self._file:
            self.server.progressed()

    def received(self, size: int, unpacked: int = 0) -> None:
        """Some bytes have come.

        Args:
            size: How many.
            unpacked: All that the answer has brought so far, once unpacked.

        Raises:
            NoAnswerError: They are too many.
        """
        self._received += size
        if self._file and size:
            self.server.progressed()
        most = FILE_BYTES if self._file else ANSWER_BYTES
        if max(self._received, unpacked) > most and not math.isinf(self.server.seconds):
            self.server.give_up(f"answers with more than {most / 2**20:,.0f} MiB, which no such answer has")

    def has_status(self, status: int, retry_after: str | None) -> None:
        """The answer has begun.

        Args:
            status: Its status.
            retry_after: Its header of that name, which clients obey.

        Raises:
            NoAnswerError: It is an error of the server, and too late for another try.
        """
        if status in (408, 429) or status >= 500:
            self.server.failed(f"it answers {status}")
        if retry_after is not None and _seconds(retry_after) > self.server.left():
            self.server.give_up(f"answers {status}, and asks to be left alone (Retry-After: {retry_after[:40]})")

    def ended(self, status: int) -> None:
        """The answer has ended."""
        waiting.in_progress.discard(self)
        if status < 300 or (400 <= status < 500 and status not in (408, 429)):
            self.server.answered()

    def cut(self) -> None:
        """Ends the wait of any thread."""
        if self.socket is not None:
            with suppress(OSError):  # it has ended
                self.socket.shutdown(socket.SHUT_RDWR)


def is_file(target: str) -> bool:
    """Returns whether the path and query of a request are those of a file, which may be large."""
    return _FILE.search(target) is not None


def _seconds(retry_after: str) -> float:
    """Returns the seconds of a Retry-After header, which is a number or a date; 0 for anything else."""
    with suppress(ValueError):
        return float(retry_after)
    with suppress(ValueError, OverflowError):
        return parsedate_to_datetime(retry_after).timestamp() - time.time()
    return 0.0
