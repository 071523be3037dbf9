"""What surrounds a step in its own process: its lines in the log, its errors, and its end when the run is gone.

The output of a step is mixed with that of the executor and of every library. What is meant for a person are messages
(`pipelines.step_process.messages`), which a local run recognises and a reader of a cluster's log sees. No secret that
the process knows of is printed.
"""

import errno
import io
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO

from components.surroundings import environment, interrupts, servers
from components.surroundings.masking import masked
from elboflow.artifacts import child
from elboflow.settings import RequestError, WorkError
from elboflow.settings.variables import STEP_SECONDS
from pipelines.step_process.messages import MessageWriter
from pipelines.step_process.refusal import REFUSAL as REFUSAL
from pipelines.step_process.refusal import beside
from pipelines.step_process.start import prepare


def quieten() -> None:
    """Raises the log level of libraries, in this process and its children; what the environment sets wins."""
    for name, value in {"TF_CPP_MIN_LOG_LEVEL": "2", "GRPC_VERBOSITY": "ERROR"}.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # of a request, the end counts, not each try


def seconds_before() -> dict[str, float]:
    """Returns how long the earlier steps of a local run took, by name; nothing on a platform, which knows it itself."""
    found: dict[str, float] = json.loads(os.environ.get(STEP_SECONDS, "{}"))
    return found


def understood(error: Exception) -> RequestError | WorkError | None:
    """Returns an error as one that a person can understand, or None where only its traceback helps."""
    if isinstance(error, RequestError | WorkError):
        return error
    if isinstance(error, MemoryError):
        return WorkError(f"the memory of this machine is not enough: {error}")
    if isinstance(error, OSError) and error.filename and error.errno in _OF_THE_MACHINE:
        return WorkError(f"{error.filename}: {error.strerror}")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkError("no space is left on the disk" + (f": {error.filename}" if error.filename else ""))
    return None


_OF_THE_MACHINE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG),
    *(errno.EIO, errno.ESTALE, errno.ELOOP, errno.EMFILE, errno.ENFILE),
}
"""Errors of a file that its owner or the machine has to mend, and no traceback helps with."""


class _Terminated(BaseException):
    """The machine is being taken away, or the step was cancelled."""


@contextmanager
def step(output_file: str = "") -> Iterator[None]:
    """Surrounds the body of a step.

    An error that a person can understand becomes one message, without a traceback; any other error keeps its
    traceback. The process ends with code 2 where the request was wrong, 1 where the work failed, and 143 after a
    SIGTERM. A platform retries a failed step after any exit code; after a wrong request the next try ends at
    once, with the same words, wherever `pipelines.step_process.refusal` has a place that outlives a try.

    Args:
        output_file: A path in the folder of the step, beside which a refusal is left.
    """
    prepare()
    messages = MessageWriter(sys.stdout)
    logger = logging.getLogger("elboflow")
    with ExitStack() as surroundings:
        for redirect, stream in ((redirect_stdout, sys.stdout), (redirect_stderr, sys.stderr)):
            stream_without_secrets = _Masked(stream)
            surroundings.enter_context(redirect(stream_without_secrets))
            surroundings.callback(stream_without_secrets.flush)
        handler = _Messages(messages)
        logger.addHandler(handler)
        surroundings.callback(logger.removeHandler, handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        # For whoever repeats the step elsewhere.
        print(environment.MARK + json.dumps(environment.environment()), flush=True)
        child.end_with_parent()  # a run that was killed leaves no step at work behind it
        refusal = beside(output_file) if output_file else None
        earlier = None
        try:
            with _terminable():
                servers.watch()  # all requests of the step: Cloud Storage through Beam, MLflow, webhooks
                if refusal is not None and (earlier := refusal.read()) is not None:
                    raise RequestError(earlier)
                from pipelines.step_process.secrets import reveal

                reveal()
                yield
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        except _Terminated:
            messages.error("ended by SIGTERM, as when the machine is taken away")
            sys.exit(128 + signal.SIGTERM)
        except Exception as error:
            reason = understood(error)
            if reason is None:
                traceback.print_exc()
                sys.exit(1)
            if isinstance(reason, RequestError) and refusal is not None and earlier is None:
                refusal.leave(masked(str(reason)))
            messages.error(str(reason))
            sys.exit(reason.exit_code)


@contextmanager
def _terminable() -> Iterator[None]:
    """Lets a SIGTERM end the step in order; a container's first process would ignore it otherwise."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return

    def terminate(*_: object) -> None:
        if interrupts.is_handled(_Terminated):
            return
        servers.hurry()
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with servers.hurried_by_interrupts():
            yield
    except _Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would interrupt what is told of the first
        raise
    finally:
        if signal.getsignal(signal.SIGTERM) == terminate:
            signal.signal(signal.SIGTERM, before)


class _Messages(logging.Handler):
    """Turns log records of the project into messages."""

    def __init__(self, messages: MessageWriter) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._messages.line(self.format(record))
        except Exception:
            self.handleError(record)


class _Masked(io.TextIOBase):
    """A stream that passes on whole lines, without secrets; a part of a line when it is flushed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._rest, self._lock = stream, "", threading.RLock()

    def write(self, text: str) -> int:
        with self._lock:
            lines, end, self._rest = (self._rest + text).rpartition("\n")
            if end:
                self._stream.write(masked(lines + end))
        return len(text)

    def flush(self) -> None:
        with self._lock:
            rest, self._rest = self._rest, ""
            self._stream.write(masked(rest))
            self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # TextIOBase's is None, and cannot be set
        return self._stream.encoding
