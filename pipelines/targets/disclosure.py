"""No secret goes into a compiled pipeline, which lies on a platform, and in its registry, for many to read."""

from collections.abc import Iterator
from typing import Any

from components.masking import variable_in
from pipelines.experiment import Experiment
from settings import RequestError


def require_no_secret(experiment: Experiment) -> None:
    """Looks whether an experiment holds a secret that is known here, such as in the path of its data.

    The steps need the experiment as it is: what is hidden in it could not be read, and what is not is shown to all.

    Raises:
        RequestError: It does; it names the key, and the variable.
    """
    for key, text in _texts(experiment.model_dump(mode="json"), ""):
        if (variable := variable_in(text)) is not None:
            raise RequestError(
                f"{key}: holds the value of ${variable}, a secret, and the compiled pipeline would show it to all who "
                f"see its runs; take it out, or unset ${variable} here if it is none"
            )


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{key}.{number}")
