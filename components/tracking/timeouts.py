"""Timeouts and retries of MLflow's client: MLflow's own variables, where a person has not set them.

Its defaults are a minute or two for each of eight tries, and pauses that double up to two minutes between them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from components.surroundings import servers, waiting
from components.surroundings.masking import masked

DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""30 s for an answer; pauses of 0, 2, 4, 8 and 16 s: a server that starts anew is back by then."""


def bound(tracking_uri: str) -> None:
    """Bounds all requests to an MLflow server. A person who wants more than the defaults has it."""
    for variable, value in DEFAULTS.items():
        os.environ.setdefault(variable, value)
    servers.watch()
    servers.introduce(tracking_uri, f"the MLflow at {masked(tracking_uri)}", _seconds())


@contextmanager
def asking_once(**others: str) -> Iterator[None]:
    """Switches off retries, and shortens the wait for an answer, for the duration: what is asked can be missed.

    A retry sleeps for seconds, which nothing interrupts: the interpreter would wait for it at its end.

    Args:
        others: Further variables that MLflow has for the duration.
    """
    values = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", **others}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _seconds() -> float:
    """Returns how long a server may give no answer: what all tries and pauses take, where a person set them."""
    timeout, retries, factor = (_number(name) for name in DEFAULTS)
    if all(_number(name) <= float(default) for name, default in DEFAULTS.items()):
        return waiting.ANSWER_SECONDS
    pauses = sum(min(120.0, factor * 2**tries) for tries in range(1, int(retries)))
    return max(waiting.ANSWER_SECONDS, (retries + 1) * timeout + pauses)


def _number(name: str) -> float:
    try:
        return float(os.environ[name])
    except ValueError:  # MLflow will say so
        return float(DEFAULTS[name])
