"""Timeouts and retries of MLflow's client: MLflow's own variables, where a person has not set them.

Its defaults are a minute or two for each of eight tries, and pauses that double up to two minutes between them.
"""

import os

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
    set_defaults(DEFAULTS)
    servers.watch()
    servers.introduce(tracking_uri, f"the MLflow at {masked(tracking_uri)}", _seconds())


def set_defaults(values: dict[str, str]) -> None:
    """Sets variables that are unset, or that `bound` has set in this process or in its parent."""
    for name, value in values.items():
        if os.environ.get(name) in (None, DEFAULTS[name]):
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
