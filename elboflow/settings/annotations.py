"""What the annotation of a setting allows, and what a value is made of."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin


class MayBeEmpty:
    """Marks text that says something by being empty."""


PossiblyEmpty = Annotated[str, MayBeEmpty]
"""Text that may be empty; all other text of a section may not."""


class Word(str):
    """A word of a literal, which is not any text."""


def alternatives(annotation: Any) -> list[Any]:
    """Returns the types that a value of this annotation may have, unwrapped: `Annotated[A | B, …]` is [A, B]."""
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [found for member in get_args(annotation) for found in alternatives(member)]
    return [annotation]


def leaves(annotation: Any) -> Iterator[type]:
    """Yields the types of the scalars that an annotation allows, inside unions, tuples, lists and dictionaries."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        yield from (Word if isinstance(word, str) else type(word) for word in arguments)
    elif origin is Annotated:
        yield from leaves(arguments[0])
        yield from (MayBeEmpty for mark in arguments[1:] if mark is MayBeEmpty)
    elif arguments:
        for argument in arguments:
            yield from leaves(argument)
    elif isinstance(annotation, type):
        yield annotation


def scalars(value: Any) -> Iterator[Any]:
    """Yields a scalar, or the scalars of a list or a dictionary."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from scalars(part)
    else:
        yield value


def takes(annotation: Any, value: Any) -> bool:
    """Whether a scalar, or a list of scalars, is of the types that an annotation is made of: text, or numbers."""
    types = set(leaves(annotation)) - {type(None)}
    if not any(_has_form(member, value) for member in alternatives(annotation)):
        return False
    found = list(scalars(value))
    if all(isinstance(scalar, str) for scalar in found):
        return bool(types) and types <= {str, MayBeEmpty}
    whole = all(isinstance(scalar, int) for scalar in found)
    numbers = all(isinstance(scalar, int | float) and not isinstance(scalar, bool) for scalar in found)
    return numbers and bool(types) and types <= {int, float} and (whole or float in types)


def _has_form(annotation: Any, value: Any) -> bool:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not isinstance(value, list):
        return not isinstance(value, dict) and origin not in (list, tuple, dict)
    return origin is list or (origin is tuple and (... in arguments or len(arguments) == len(value)))
