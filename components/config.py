"""The sections `registry` and `notify` of an experiment."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator

from elboflow.settings import PossiblyEmpty, Settings, by_name
from elboflow.settings.explain import nearest, shown, written
from elboflow.settings.variables import WEBHOOK

ModelName = Annotated[
    str,
    written(  # narrower than MLflow's own rule, which takes more characters (mlflow.utils.validation)
        r"(?!\.\.|\.?$| +$)[A-Za-z0-9_. -]{1,200}",
        "be at most 200 letters, digits, spaces and the characters _ . -, not spaces alone, and neither be '.' nor "
        "begin with '..'",
    ),
]


class Guard(Settings):
    """Classes of a category on which a newcomer may not be worse than the champion by more than a tolerance."""

    main: ClassVar = "feature"
    feature: Annotated[str, Field(min_length=1)] = Field(description="a feature of kind category")
    values: tuple[str | int, ...] | None = Field(None, description="the guarded classes; null: all of them")
    tolerance: Annotated[float, Field(ge=0)] = Field(
        0.0, description="by how much the deciding metric may be worse on a class, on average, in its unit"
    )


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
    error_budget: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05,
        description="the chance that any promotion of the registered model, over its whole life, was noise; shared out "
        "over all tests",
    )
    baseline: bool = Field(
        True,
        description="whether the first version must be better than the baseline that the evaluation computes: a model "
        "without latents, in which each value is independent of the others",
    )
    guard: tuple[Guard, ...] = Field(
        (),
        description="classes on which a newcomer that is better on average may not be worse than tolerated",
    )
    canary: bool = Field(
        True,
        description="whether a version is served in a fresh process and asked once over HTTP before the alias moves; "
        "one that does not answer is not promoted",
    )

    @field_validator("guard")
    @classmethod
    def _guards_a_category_once(cls, guards: tuple[Guard, ...]) -> tuple[Guard, ...]:
        features = [guard.feature for guard in guards]
        if twice := next((name for name in features if features.count(name) > 1), None):
            raise ValueError(f"{twice!r} is guarded twice")
        return guards


Event = Literal["failure", "end", "recovered", "promoted", "missed", "late", "hanging"]
OF_SCHEDULES: tuple[Event, ...] = ("missed", "late", "hanging")
"""What the scheduler of this machine sees, and no platform tells."""


def _known(value: Any) -> Any:
    for word in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else ():
        if word not in get_args(Event):
            raise ValueError(f"unknown value {shown(word)}; {nearest(str(word), get_args(Event))}")
    return value


When = Annotated[
    Event | Annotated[tuple[Event, ...], Field(min_length=1)],
    BeforeValidator(_known),
    Field(
        description="what is told, a word or a list: failure: a run failed or was cancelled; end: a run ended; "
        "recovered: the first success after a failure; promoted: a model became the champion; and of schedules on this "
        "machine, missed: ticks that did not run; late: a tick that has not begun after 5 minutes; hanging: a run that "
        "takes longer than schedule.deadline_minutes"
    ),
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


def events(notification: Webhook | Command) -> frozenset[Event]:
    """Returns what a notification is sent of."""
    when = notification.when
    return frozenset([when] if isinstance(when, str) else when)
