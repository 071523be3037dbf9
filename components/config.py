"""The sections `registry` and `notify` of an experiment."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from elboflow.settings import PossiblyEmpty, Settings, by_name
from elboflow.settings.explain import written
from elboflow.settings.variables import WEBHOOK

ModelName = Annotated[
    str,
    written(  # narrower than MLflow's own rule, which takes more characters (mlflow.utils.validation)
        r"(?!\.\.|\.?$| +$)[A-Za-z0-9_. -]{1,200}",
        "be at most 200 letters, digits, spaces and the characters _ . -, not spaces alone, and neither be '.' nor "
        "begin with '..'",
    ),
]


class RegistryConfig(Settings):
    """Where a model is registered in MLflow, and how sure one must be that it is better than the one in production."""

    short_form: ClassVar = "model"
    model: ModelName | None = Field(
        None, description="name of the registered model; by default the experiment's name and `-vae`"
    )
    decides_by: Annotated[str, Field(min_length=1)] = Field(
        "log_likelihood", description="the metric by which newcomer and champion are compared, example by example"
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        0.95,
        description="of the interval of the paired difference that must lie above zero before the alias `champion` "
        "moves",
    )


When = Annotated[
    Literal["failure", "end"], Field(description="which ends are told: failure: those of failed runs; end: all")
]


class Webhook(Settings):
    """A POST of one JSON object, with the fields of `components.surroundings.notify.RunEnd`."""

    main: ClassVar = "variable"
    kind: Literal["webhook"] = "webhook"
    variable: Annotated[str, written("[A-Za-z_][A-Za-z0-9_]*", "be the name of an environment variable")] = Field(
        WEBHOOK, description="the environment variable that holds the address, which often is a secret"
    )
    when: When = "failure"


class Command(Settings):
    """A command that is given the same JSON object on its standard input."""

    main: ClassVar = "command"
    kind: Literal["command"] = "command"
    command: Annotated[tuple[PossiblyEmpty, ...], Field(min_length=1)] = Field(
        description="the program and its arguments, which no shell reads"
    )
    when: When = "failure"


def _no_address(value: Any) -> Any:
    if isinstance(value, str) and "://" in value:
        raise ValueError(
            "an address does not stand in the file, because it often is a secret; give it in the environment variable "
            f"{WEBHOOK}, and write `webhook` here"
        )
    return by_name(value)


Notification = Annotated[Webhook | Command, Field(discriminator="kind"), BeforeValidator(_no_address)]
