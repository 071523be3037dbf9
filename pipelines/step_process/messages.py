"""What a step tells its run: a line for a person, or why it failed.

A message stands in the step's output, among all that libraries print there: one line of JSON under a signature
(HMAC-SHA256). The run makes the key and gives it to the processes of its steps alone, which take it out of their
environment before they read data or start other processes. So no text that data can write is a message.

Without a key, as in a pod, messages are plain lines for a person, and no program acts on them.
"""

import hmac
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal, TextIO

from components.surroundings import environment
from components.surroundings.masking import masked
from elboflow.settings.terminal import printable
from elboflow.settings.variables import MESSAGE_SECRET

MARK = "[elboflow] "
"""What a line for a person begins with where the reader of a log has to find it among others."""

_BEGINNING = "[elboflow "
_MOST = 10_000
"""Characters of a text: Docker cuts lines of 16 KiB in two."""


@dataclass(frozen=True)
class Message:
    """A message of a step.

    Attributes:
        kind: What it tells.
        text: The line, or lines.
    """

    kind: Literal["line", "error"]
    text: str


_EXECUTOR = "[KFP Executor "
_INPUT = "]: Got executor_input:"


def without_executor(lines: Iterable[str]) -> Iterator[str]:
    """Yields the lines of a log but those of KFP's executor, such as the JSON that a step was started with."""
    in_json = False
    for line in lines:
        if in_json:
            in_json = line.rpartition(": ")[2] != "}"  # behind the name of the step, where all steps are shown
        elif _EXECUTOR in line:
            in_json = _INPUT in line
        elif environment.MARK not in line:
            yield line


def executor_inputs(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Returns the JSON that each try of a step was started with, from the lines of its log; those that are whole."""
    found: list[dict[str, Any]] = []
    texts: list[str] | None = None
    for line in lines:
        if _EXECUTOR in line:
            texts = [] if _INPUT in line else None
        elif texts is not None:
            texts.append(line)
            if line == "}":
                with suppress(ValueError):  # lines of others stand between
                    found.append(dict(json.loads("\n".join(texts))))
                texts = None
    return found


def for_people(lines: Iterable[str]) -> Iterator[str]:
    """Yields what a step told a person, of the lines of its log."""
    for line in lines:
        before, mark, text = line.partition(MARK)
        if mark:
            yield before + text


def new_key() -> str:
    """Returns a key for the messages of one run."""
    return secrets.token_hex(32)


class MessageWriter:
    """What tells the messages of this process.

    Args:
        stream: Where they go: the process's own output, not what stands in for it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._key = os.environ.pop(MESSAGE_SECRET, None)

    def line(self, text: str) -> None:
        """Tells what a person may want to read, in a line or a few."""
        self._tell("line", text, MARK + text.replace("\n", f"\n{MARK}"))

    def error(self, text: str) -> None:
        """Tells why the step failed."""
        self._tell("error", text, f"{MARK}error: " + text.replace("\n", f"\n{MARK}"))

    def _tell(self, kind: Literal["line", "error"], text: str, readable: str) -> None:
        if self._key is None:
            line = printable(masked(readable))
        else:
            line = signed(Message(kind, masked(text)[:_MOST]), self._key)
        with suppress(OSError):  # a log that cannot be written is no reason to stop the work
            self._stream.write(line + "\n")
            self._stream.flush()


def signed(message: Message, key: str) -> str:
    """Returns a message as a line."""
    # Without a bracket, no other place of the line looks like the beginning of a message.
    said = json.dumps(asdict(message)).replace("[", "\\u005b")
    return f"{_BEGINNING}{_signature(said, key)}] {said}"


def read(line: str, key: str) -> Message | None:
    """Returns the message that a line of a step's output is; None where it is only text."""
    _, begins, rest = line.rpartition(_BEGINNING)
    signature, _, said = rest.rstrip().partition("] ")
    if not begins or not hmac.compare_digest(_bytes(signature), _bytes(_signature(said, key))):
        return None
    return Message(**json.loads(said))


def _signature(said: str, key: str) -> str:
    return hmac.digest(bytes.fromhex(key), _bytes(said), "sha256").hex()


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
