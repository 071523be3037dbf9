"""What surrounds a step in its own process: its lines in the log, its errors, and its end when the run is gone.

Whatever runs a pipeline mixes a step's output with that of the executor and of every library. The lines meant for a
person carry a mark, so that the local target can pick them out and a reader of a cluster's log can see them.
"""

import errno
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from settings import RequestError, WorkError

MARK = "[elboflow] "
BEGIN = "begin "
ERROR = "error: "
RUN_PROCESS = "ELBOFLOW_RUN_PROCESS"
"""The environment variable that holds the process id of a local run. Steps end when that process does."""


def quieten() -> None:
    """Asks libraries to keep their chatter to themselves, in this process and its children; a person's wish wins."""
    for name, value in {"TF_CPP_MIN_LOG_LEVEL": "2", "GRPC_VERBOSITY": "ERROR"}.items():
        os.environ.setdefault(name, value)


def understood(error: Exception) -> RequestError | WorkError | None:
    """Returns an error as one that a person can understand, or None where only its traceback helps."""
    if isinstance(error, RequestError | WorkError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkError("no space is left on the disk" + (f": {error.filename}" if error.filename else ""))
    return None


@contextmanager
def step(output_file: str = "") -> Iterator[None]:
    """Surrounds the body of a step.

    An error that a person can understand becomes one marked line and exit code 1, without a traceback; any other error
    keeps its traceback.

    Args:
        output_file: A path in the folder of the step, for whoever runs it to know where that is.
    """
    logger = logging.getLogger("elboflow")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Marked())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if RUN_PROCESS in os.environ:
        threading.Thread(target=_end_with, args=(int(os.environ[RUN_PROCESS]),), daemon=True).start()
    print(f"{MARK}{BEGIN}{os.getpid()} {output_file}", flush=True)
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        told = understood(error)
        if told is None:
            raise
        logger.error("%s%s", ERROR, told)
        sys.exit(1)


class _Marked(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(MARK + line for line in super().format(record).splitlines())


def _end_with(process: int) -> None:
    """Ends this process as soon as that one has gone: a run that was killed leaves no step at work behind it.

    Half-done work is safe to leave at any moment, because artifacts commit last.
    """
    while True:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            os._exit(128 + signal.SIGTERM)
        time.sleep(0.25)
