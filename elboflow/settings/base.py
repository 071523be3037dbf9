"""Frozen settings, and the short forms in which a section of them may be written."""

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from elboflow.settings.annotations import MayBeEmpty, PossiblyEmpty, leaves, scalars, takes
from elboflow.settings.text import shown


class Settings(BaseModel):
    """A section of the experiment: frozen, and closed to keys that it does not know.

    Attributes:
        short_form: The key whose value may stand for the whole section.
        main: The key that a value in the place of the section probably belongs to. It is not taken for the section,
            but the message shows how it is written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    short_form: ClassVar[str | None] = None
    main: ClassVar[str | None] = None

    @classmethod
    def long_form(cls, value: Any) -> Any:
        """Returns a section of a value in short form, and any other value as it is."""
        if cls.short_form is None or not takes(cls.model_fields[cls.short_form].annotation, value):
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
    types = set(leaves(annotation))
    if isinstance(value, dict) and any(issubclass(member, BaseModel) for member in types):
        return None  # a section: it looks for itself
    found = list(scalars(value))
    if value is False and bool not in types and type(None) in types:
        return "false is not allowed here; for none, write null"
    if bool not in types and any(isinstance(scalar, bool) for scalar in found):
        return "true and false are not allowed here"
    if types == {bool} and not all(isinstance(scalar, bool) for scalar in found):
        return f"{shown(value)} is not allowed; must be true or false"
    if str in types and MayBeEmpty not in types and any(isinstance(text, str) and not text.strip() for text in found):
        return "empty text is not allowed here" + ("; for none, write null" if type(None) in types else "")
    if types and types <= {int, float, type(None)} and any(_is_quoted_number(scalar) for scalar in found):
        return "a number is expected here, without quotes"
    return None


def _annotation(field: FieldInfo) -> Any:
    return PossiblyEmpty if MayBeEmpty in field.metadata else field.annotation


def _is_quoted_number(scalar: Any) -> bool:
    try:
        return isinstance(scalar, str) and float(scalar) is not None
    except ValueError:
        return False
