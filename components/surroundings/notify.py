"""Notification of how a run ended: one JSON object to a webhook, or to a command on its standard input."""

import json
import logging
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from components.config import Command, Event, Notification, Webhook, events
from components.surroundings import servers
from components.surroundings.masking import hide, masked
from elboflow.artifacts import child

logger = logging.getLogger("elboflow.notify")

TRIES = 3
SECONDS_PER_TRY = 10.0
SECONDS_OF_COMMAND = 60.0
_PAUSE = 1.0
"""Seconds before the second try; twice as long before the third."""


Outcome = Literal["succeeded", "failed", "cancelled", "skipped", "missed", "late", "hanging"]
"""How a run ended; or what the scheduler sees of a tick that did not run, is late, or whose run does not end."""


@dataclass(frozen=True)
class RunEnd:
    """How a run ended. What is not known is None.

    Attributes:
        run: The run's name.
        experiment: The experiment's name.
        status: succeeded, failed, cancelled or skipped; missed, late or hanging of a schedule's tick.
        step: The step that failed.
        reason: Why it failed or was skipped; or why its model was promoted, or was not.
        link: A page that a reader elsewhere can open; a folder of this machine where there is no such page.
        seconds: How long the steps took that have ended, by name, and `total`, as far as that is known.
        target: Where it ran: `local`, `kubeflow` or `vertex`.
        model: The name of the registered model.
        version: The version that it registered.
        promoted: Whether that version became the champion.
        recovered: Whether it is the first success after a failure.
        metrics: The metrics of the test split, by name.
    """

    run: str
    experiment: str
    status: Outcome
    step: str | None = None
    reason: str | None = None
    link: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    target: str | None = None
    model: str | None = None
    version: int | None = None
    promoted: bool | None = None
    recovered: bool | None = None
    metrics: Mapping[str, float] | None = None


class UndeliveredError(Exception):
    """Why a notification was not delivered, without the address; `again` where another try may help."""

    def __init__(self, reason: str, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


def notify(ended: RunEnd, notification: Notification, folder: Path | None = None) -> None:
    """Tells how a run ended, if that is asked for. What goes wrong becomes a line in the log and is never raised.

    Args:
        folder: The working directory of a command; None for that of this process.
    """
    if not _events(ended) & events(notification):
        return
    try:
        if isinstance(notification, Webhook):
            _post(notification, _message(ended))
        else:
            _call(notification, _message(ended), folder)
    except UndeliveredError as error:
        logger.warning("no notification was sent of how %s ended: %s", ended.run, masked(str(error)))


def _events(ended: RunEnd) -> set[Event]:
    """Returns what an end is told as."""
    if ended.status in ("missed", "late", "hanging"):
        return {ended.status}
    found: set[Event] = {"end"}
    if ended.status in ("failed", "cancelled"):
        found.add("failure")
    if ended.recovered:
        found.add("recovered")
    if ended.promoted:
        found.add("promoted")
    return found


def _message(ended: RunEnd) -> bytes:
    told = {name: masked(value) if isinstance(value, str) else value for name, value in asdict(ended).items()}
    return json.dumps(told, ensure_ascii=False).encode()


def _post(webhook: Webhook, message: bytes) -> None:
    address = os.environ.get(webhook.variable, "").strip()
    if not address:
        raise UndeliveredError(f"the environment variable {webhook.variable} holds no address")
    hide(address)
    if not address.startswith(("https://", "http://")):
        raise UndeliveredError(f"what {webhook.variable} holds does not begin with https:// or http://")
    servers.introduce(address, f"the webhook in {webhook.variable}", _seconds())
    for attempt in range(1, TRIES + 1):
        try:
            _send(address, message)
            return
        except UndeliveredError as error:
            if not error.again or attempt == TRIES:
                tries = f", {attempt} times" if attempt > 1 else ""
                raise UndeliveredError(f"the webhook in {webhook.variable} {error}{tries}") from None
            time.sleep(_PAUSE * 2 ** (attempt - 1))


def _send(address: str, message: bytes) -> None:
    """Sends a message once. No error's own text is passed on: many hold the address, or a part of it."""
    headers = {"Content-Type": "application/json", "User-Agent": "elboflow"}
    try:
        request = urllib.request.Request(address, message, headers)
        from components.surroundings.connections import HTTP, HTTPS

        with urllib.request.build_opener(_NoRedirects, HTTP, HTTPS).open(request, timeout=SECONDS_PER_TRY):
            return
    except urllib.error.HTTPError as error:
        with error:
            raise UndeliveredError(f"answered {error.code}", error.code >= 500 or error.code in (408, 429)) from None
    except servers.NoAnswerError:
        raise UndeliveredError(f"gave no answer that ends within {_seconds():.0f} s") from None
    except TimeoutError:
        raise UndeliveredError(f"did not answer within {SECONDS_PER_TRY:.0f} s", again=True) from None
    except OSError as error:  # URLError is one
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            raise UndeliveredError(f"did not answer within {SECONDS_PER_TRY:.0f} s", again=True) from None
        why = (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__
        raise UndeliveredError(f"cannot be reached: {why}", again=True) from None
    except ValueError as error:  # no address at all, or a host or a port that cannot be one
        raise UndeliveredError(f"has an address that cannot be used ({type(error).__name__})") from None
    except Exception as error:  # http.client's own, such as an answer that is not HTTP
        raise UndeliveredError(f"did not answer in HTTP ({type(error).__name__})", again=True) from None


def _seconds() -> float:
    """Returns how long all tries take at most, and a second for what surrounds them."""
    return TRIES * SECONDS_PER_TRY + 3 * _PAUSE + 1


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET without the message, and look delivered."""

    def redirect_request(self, *_: object) -> None:
        return None


def _call(command: Command, message: bytes, folder: Path | None) -> None:
    program = command.command[0]
    with tempfile.TemporaryFile() as said:
        try:
            # A session of its own: what the command has started ends with it, if it takes too long.
            process = subprocess.Popen(
                command.command, stdin=subprocess.PIPE, stdout=said, stderr=said, start_new_session=True, cwd=folder
            )
        except OSError as error:
            raise UndeliveredError(f"the command {program} cannot be run: {error.strerror}") from None
        try:
            process.communicate(message, timeout=SECONDS_OF_COMMAND)
        except subprocess.TimeoutExpired:
            child.end_group(process, patience=0.0)
            raise UndeliveredError(f"the command {program} took more than {SECONDS_OF_COMMAND:.0f} s") from None
        except BaseException:
            child.end_group(process, patience=0.0)
            raise
        if process.returncode:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            last_words = f": {lines[-1]}" if lines else ""
            raise UndeliveredError(f"the command {program} ended with exit code {process.returncode}{last_words}")
