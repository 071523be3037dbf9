"""What every room's configuration is made of: frozen settings, choices by name, and errors for people.

A room states its own section of the experiment as `Settings`. A field that offers several kinds of a thing is a
union of settings that carry their `kind`:

    Encoder = Annotated[MLP | Convolutional, Field(discriminator="kind"), BeforeValidator(by_name)]

and may then be written `mlp` or `{kind: mlp, hidden: [256, 256]}`. A section that is mostly about one of its keys says
so, and may then be written as the value of that key: `10` for `{patience: 10}`.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from elboflow.settings.errors import RequestError, WorkError
from elboflow.settings.text import shown

__all__ = ["PossiblyEmpty", "RequestError", "Settings", "WorkError", "by_name", "by_name_or"]


class _MayBeEmpty:
    """Marks text that says something by being empty."""


PossiblyEmpty = Annotated[str, _MayBeEmpty]
"""Text that may be empty; all other text of a section may not."""


class Settings(BaseModel):
    """A section of the experiment: frozen, and closed to keys that it does not know.

    Attributes:
        short_form: The key whose value may stand for the whole section.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    short_form: ClassVar[str | None] = None

    @classmethod
    def long_form(cls, value: Any) -> Any:
        """Returns a section of a value in short form, and any other value as it is."""
        if cls.short_form is None or not isinstance(value, str | int | float) or isinstance(value, bool):
            return value
        types = set(_leaves(cls.model_fields[cls.short_form].annotation)) - {type(None)}
        if not (types <= {str} if isinstance(value, str) else types <= {int, float}):
            return value
        kind = {"kind": cls.model_fields["kind"].default} if "kind" in cls.model_fields else {}
        return {**kind, cls.short_form: value}

    @model_validator(mode="before")
    @classmethod
    def _types_are_as_written(cls, values: Any) -> Any:
        # pydantic would take `true` and "1" for the number 1. (Its strict mode would refuse a list for a tuple, too.)
        values = cls.long_form(values)
        problems: list[InitErrorDetails] = []
        for key, value in values.items() if isinstance(values, dict) else ():
            if key in cls.model_fields and (wrong := _wrong_type(value, _annotation(cls.model_fields[key]))):
                error = PydanticCustomError("value_error", "Value error, {error}", {"error": ValueError(wrong)})
                problems.append(InitErrorDetails(type=error, loc=(key,), input=value))
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return values


def by_name(value: Any) -> Any:
    """Reads the short form of a choice: `NAME` means `{kind: NAME}`."""
    return {"kind": value} if isinstance(value, str) else value


def by_name_or(section: type[Settings]) -> Callable[[Any], Any]:
    """Returns what reads the short forms of a choice: a name, or the short form of one of the sections."""
    return lambda value: by_name(section.long_form(value))


def _wrong_type(value: Any, annotation: Any) -> str | None:
    types = set(_leaves(annotation))
    if isinstance(value, dict) and any(issubclass(member, BaseModel) for member in types):
        return None  # a section: it looks for itself
    scalars = list(_scalars(value))
    if value is False and bool not in types and type(None) in types:
        return "false is not allowed here; for none, write null"
    if bool not in types and any(isinstance(scalar, bool) for scalar in scalars):
        return "true and false are not allowed here"
    if types == {bool} and not all(isinstance(scalar, bool) for scalar in scalars):
        return f"{shown(value)} is not allowed; must be true or false"
    if (
        str in types
        and _MayBeEmpty not in types
        and any(isinstance(text, str) and not text.strip() for text in scalars)
    ):
        return "empty text is not allowed here" + ("; for none, write null" if type(None) in types else "")
    if types and types <= {int, float, type(None)} and any(_is_quoted_number(scalar) for scalar in scalars):
        return "a number is expected here, without quotes"
    return None


def _annotation(field: FieldInfo) -> Any:
    return PossiblyEmpty if _MayBeEmpty in field.metadata else field.annotation


def _is_quoted_number(scalar: Any) -> bool:
    try:
        return isinstance(scalar, str) and float(scalar) is not None
    except ValueError:
        return False


class _Word(str):
    """A word of a literal, which is not any text."""


def _leaves(annotation: Any) -> Iterator[type]:
    """Yields the types of the scalars that an annotation allows, inside unions, tuples, lists and dictionaries."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        yield from (_Word if isinstance(word, str) else type(word) for word in arguments)
    elif origin is Annotated:
        yield from _leaves(arguments[0])
        yield from (_MayBeEmpty for mark in arguments[1:] if mark is _MayBeEmpty)
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
