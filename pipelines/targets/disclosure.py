"""No secret goes into what is kept for many to read: a platform's compiled pipeline, or a schedule of a workspace."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from components.surroundings.masking import variable_in
from elboflow.settings import RequestError

if TYPE_CHECKING:
    from pipelines.experiment import Experiment

COMPILED = "the compiled pipeline would show it to all who see its runs"


def require_no_secret(experiment: "Experiment | Mapping[str, Any]", disclosure: str = COMPILED) -> None:
    """Looks whether an experiment holds a secret that is known here, such as in the path of its data.

    The steps need the experiment as it is: what is hidden in it could not be read, and what is not is shown to all.

    Args:
        experiment: The experiment, or its JSON values.
        disclosure: What would show the secret or keep it, as a sentence.

    Raises:
        RequestError: It does; it names the key, and the variable.
    """
    values = experiment if isinstance(experiment, Mapping) else experiment.model_dump(mode="json")
    for key, text in _texts(values, ""):
        if (variable := variable_in(text)) is not None:
            raise RequestError(
                f"{key}: holds the value of ${variable}, a secret, and {disclosure}; take it out, or unset "
                f"${variable} here if it is none"
            )


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{key}.{number}")
