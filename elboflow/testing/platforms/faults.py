"""Faults to inject into a wire server: for a request, by its route, or for the steps of the runs that it executes."""

import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Breaking = Literal["fails", "hangs", "is killed"]
"""How a step breaks: in each of its tries; or, as where its machine is taken away, in the first."""


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def _dribble(what: bytes) -> Iterator[bytes]:
    while True:
        time.sleep(0.3)
        yield what


def _dribbled_body() -> Iterator[bytes]:
    yield _HEAD + b"Content-Length: 1000000\r\n\r\n"
    yield from _dribble(b" ")


def _endless_body() -> Iterator[bytes]:
    yield _HEAD + b"\r\n"
    while True:
        yield b" " * 2**16


def _endless_chunks() -> Iterator[bytes]:
    yield _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"10000\r\n" + b" " * 2**16 + b"\r\n"


def _packed_body() -> Iterator[bytes]:
    yield _HEAD + b"Content-Encoding: gzip\r\n\r\n"
    packing = zlib.compressobj(9, wbits=31)
    while True:
        yield packing.compress(b" " * 2**24)


def _endless_headers() -> Iterator[bytes]:
    yield _HEAD
    while True:
        yield b"X-More: " + b"x" * 60_000 + b"\r\n"


WIRE: dict[str, Callable[[], Iterator[bytes]]] = {
    "an empty reply": lambda: iter(()),
    "dribbles its headers": lambda: _dribble(b"H"),
    "dribbles its body": _dribbled_body,
    "never ends its body": _endless_body,
    "never ends its chunks": _endless_chunks,
    "packs a huge body": _packed_body,
    "never ends its headers": _endless_headers,
}
"""Answers that are none: the bytes that are sent, as long as somebody takes them."""


def send(name: str, connection: socket.socket) -> None:
    """Sends an answer of `WIRE` until it ends, or until its taker hangs up."""
    try:
        for some in WIRE[name]():
            connection.sendall(some)
    except OSError:
        pass


@dataclass
class Fault:
    """What happens to requests instead of, or besides, being answered.

    Attributes:
        method: Of the requests that it meets.
        path: A regular expression that the whole path matches, without the query.
        status: The HTTP status to refuse them with; None to let them through.
        message: What the refusal says.
        headers: Besides the usual ones, such as Retry-After.
        seconds: Waited before anything else.
        reset: Whether the connection is reset once the request was applied: no answer arrives.
        wire: What is sent instead of HTTP, by its name in `WIRE`.
        times: How often it strikes; None for always.
        met: How often it has struck.
    """

    method: str
    path: str
    status: int | None = None
    message: str = "injected"
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    reset: bool = False
    wire: str | None = None
    times: int | None = 1
    met: int = 0


class Faults:
    """The faults of a server.

    Attributes:
        rehearsed: Whether steps are only announced, not executed: for tests of what surrounds a run.
        step_seconds: How long a rehearsed step takes.
        answers: What the text outputs of rehearsed steps hold, by the step's name.
    """

    def __init__(self) -> None:
        self.rehearsed = False
        self.step_seconds = 0.02
        self.answers: dict[str, str] = {}
        self._faults: list[Fault] = []
        self._steps: dict[int | str, Breaking] = {}
        self._lock = threading.Lock()

    def inject(self, fault: Fault) -> Fault:
        """Lets a fault strike from now on, and returns it."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def refuse(
        self, method: str, path: str, status: int, message: str = "injected", times: int | None = 1, **headers: str
    ) -> Fault:
        """Answers with an error; an underscore in a header's name stands for a hyphen."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.inject(Fault(method, path, status, message, named, times=times))

    def reset(self, method: str, path: str, times: int = 1) -> Fault:
        """Resets the connection after the request was received and applied."""
        return self.inject(Fault(method, path, reset=True, times=times))

    def delay(self, method: str, path: str, seconds: float, times: int | None = 1) -> Fault:
        """Lets requests wait; an hour is a hang."""
        return self.inject(Fault(method, path, seconds=seconds, times=times))

    def break_off(self, method: str, path: str, wire: str, times: int | None = None) -> Fault:
        """Answers with what is in `WIRE`."""
        return self.inject(Fault(method, path, wire=wire, times=times))

    def break_step(self, step: int | str, how: Breaking) -> None:
        """Breaks the step of that number, from 1, or of that name, of every run that starts from now on."""
        with self._lock:
            self._steps[step] = how

    def clear(self) -> None:
        """Takes all faults back."""
        with self._lock:
            self._faults.clear()
            self._steps.clear()
            self.rehearsed, self.step_seconds, self.answers = False, 0.02, {}

    @property
    def planted(self) -> tuple[Fault, ...]:
        """The faults of requests, in the order in which they were injected."""
        with self._lock:
            return tuple(self._faults)

    @property
    def steps(self) -> dict[int | str, Breaking]:
        """The steps that break, by number or name."""
        with self._lock:
            return dict(self._steps)

    def of_a_run(self) -> dict[str, Any]:
        """Returns the fields of a `SubmittedRun` that say how its steps are executed."""
        return {
            "broken": {str(number): how for number, how in self.steps.items()},
            "rehearsed": self.rehearsed,
            "step_seconds": self.step_seconds,
            "answers": dict(self.answers),
        }

    def strike(self, method: str, path: str) -> Fault | None:
        """Returns the fault that meets a request, if any."""
        with self._lock:
            for fault in self._faults:
                spent = fault.times is not None and fault.met >= fault.times
                if not spent and fault.method == method and re.fullmatch(fault.path, path):
                    fault.met += 1
                    return fault
        return None
