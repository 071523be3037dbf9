"""Processes that tell MLflow of a run, apart from it: the run does not wait for the seconds of MLflow's import."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from typing import Any

LONGEST = 60
"""Seconds that such a process has: an MLflow that does not answer is given up."""


def start(module: str, request: dict[str, Any]) -> "subprocess.Popen[bytes] | None":
    """Starts a module that reads its request, as JSON, from its standard input; None where it cannot be started.

    It goes on when this process ends, and signals to this process do not reach it.
    """
    with suppress(OSError):
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            start_new_session=True,
        )
        assert process.stdin is not None
        with process.stdin as told:
            told.write(json.dumps(request).encode())
        return process
    return None
