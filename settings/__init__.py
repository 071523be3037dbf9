"""What every room's configuration is made of: frozen settings, choices by name, and errors for people.

A room states its own section of the experiment as `Settings`. A field that offers several kinds of a thing is a
union of settings that carry their `kind`:

    Encoder = Annotated[MLP | Convolutional, Field(discriminator="kind"), BeforeValidator(by_name)]

and may then be written `mlp` or `{kind: mlp, hidden: [256, 256]}`.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from settings.errors import RequestError, WorkError

__all__ = ["RequestError", "Settings", "WorkError", "by_name"]


class Settings(BaseModel):
    """A section of the experiment: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, values: Any) -> Any:
        # pydantic would take `true` and "1" for the number 1. (Its strict mode would refuse a list for a tuple, too.)
        problems: list[InitErrorDetails] = []
        for key, value in values.items() if isinstance(values, dict) else ():
            if key in cls.model_fields and (wrong := _wrong_type(value, cls.model_fields[key].annotation)):
                error = PydanticCustomError("value_error", "Value error, {error}", {"error": ValueError(wrong)})
                problems.append(InitErrorDetails(type=error, loc=(key,), input=value))
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return values


def by_name(value: Any) -> Any:
    """Reads the short form of a choice: `NAME` means `{kind: NAME}`."""
    return {"kind": value} if isinstance(value, str) else value


def _wrong_type(value: Any, annotation: Any) -> str | None:
    types = set(_leaves(annotation))
    if isinstance(value, dict) and any(issubclass(member, BaseModel) for member in types):
        return None  # a section: it looks for itself
    scalars = list(_scalars(value))
    if bool not in types and any(isinstance(scalar, bool) for scalar in scalars):
        return "true and false are not allowed here"
    if types and types <= {int, float, type(None)} and any(_is_quoted_number(scalar) for scalar in scalars):
        return "a number is expected here, without quotes"
    return None


def _is_quoted_number(scalar: Any) -> bool:
    try:
        return isinstance(scalar, str) and float(scalar) is not None
    except ValueError:
        return False


def _leaves(annotation: Any) -> Iterator[type]:
    """Yields the types of the scalars that an annotation allows, inside unions, tuples, lists and dictionaries."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        yield from map(type, arguments)
    elif origin is Annotated:
        yield from _leaves(arguments[0])
    elif arguments:
        for argument in arguments:
            yield from _leaves(argument)
    elif isinstance(annotation, type):
        yield annotation


def _scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _scalars(part)
    else:
        yield value
