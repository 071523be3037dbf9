"""The structure of settings: the sections, kinds and keys that an annotation allows."""

from collections.abc import Iterator
from contextlib import suppress
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from elboflow.settings import Settings, by_name, table
from elboflow.settings.annotations import alternatives


def sections(annotation: Any) -> dict[str, type[Settings]]:
    """Returns the allowed sections by `kind`; a section without a kind by the name of its class.

    Kinds of installed packages are not among them: `section` imports the one that is chosen.
    """
    found: dict[str, type[Settings]] = {}
    for member in alternatives(annotation):
        if table.is_choice(member):
            found.update(table.own_kinds(member))
        elif isinstance(member, type) and issubclass(member, Settings):
            found[kind(member) or member.__name__] = member
    return found


def kind(section: type[Settings]) -> str | None:
    """Returns the kind of a section; None if it has none, or if its `kind` is any text, as an accelerator's is."""
    field = section.model_fields.get("kind")
    if field is None or get_origin(field.annotation) is not Literal:
        return None
    return str(get_args(field.annotation)[0])


def is_tagged(annotation: Any) -> bool:
    """Whether pydantic names the member of the union in locations below such a value.

    It does so for unions of plain types and sections; in unions of sections alone, the `kind` decides.
    """
    several = [member for member in alternatives(annotation) if member is not NoneType]
    return len(several) > 1 and len(sections(annotation)) < len(several)


def has_kinds(annotation: Any) -> bool:
    """Whether a value has a `kind` and may be written as its name: `l4` for `{kind: l4}`."""
    return any("kind" in here.model_fields for here in sections(annotation).values())


def long_form(value: Any, annotation: Any) -> Any:
    """Returns the long form of a value: `{kind: mlp}` for `mlp`, `{patience: 10}` for `10`."""
    if isinstance(value, str) and has_kinds(annotation):
        return by_name(value)
    for here in sections(annotation).values():
        if (long := here.long_form(value)) is not value:
            return long
    return value


def section(annotation: Any, chosen: str | None) -> type[Settings] | None:
    """Returns the section of a kind, or the only allowed section; None if there is none."""
    choices = [member for member in alternatives(annotation) if table.is_choice(member)]
    for member in choices:
        with suppress(LookupError):
            return table.find(member, str(chosen or member.usual))
    offered = sections(annotation)
    return next(iter(offered.values())) if len(offered) == 1 and not choices else offered.get(str(chosen))


def inside(annotation: Any, key: str | int, chosen: str | None = None) -> Any:
    """Returns the annotation under a key; None if it is unknown.

    Args:
        annotation: The annotation of the container.
        key: A section's key, a mapping's key, or an index.
        chosen: The kind of the section, where there is a choice.
    """
    if sections(annotation):
        here = section(annotation, chosen)
        field = here.model_fields.get(str(key)) if here else None
        return None if field is None else field.annotation
    for member in alternatives(annotation):
        origin, arguments = get_origin(member), get_args(member)
        if origin is dict:
            return arguments[1]
        if origin in (list, set, frozenset):
            return arguments[0]
        if origin is tuple and isinstance(key, int) and key < len(arguments):
            return arguments[key]
    return None


def words(annotation: Any) -> list[str]:
    """Returns the allowed words: the values of a literal, and the names of kinds."""
    found = [
        str(word) for member in alternatives(annotation) if get_origin(member) is Literal for word in get_args(member)
    ]
    for member in alternatives(annotation):
        if table.is_choice(member):
            found += table.names(member)
        else:
            found += [name for name, here in sections(member).items() if kind(here)]
    return found + (["null"] if found and NoneType in alternatives(annotation) else [])


def every_section(settings: type[Settings]) -> Iterator[type[Settings]]:
    """Yields settings and all that can stand below them, each once, with the kinds of installed packages."""
    seen: dict[type[Settings], None] = {}
    left = [settings]
    while left:
        if (here := left.pop()) in seen:
            continue
        seen[here] = None
        yield here
        left += [below for field in here.model_fields.values() for below in sections_in(field.annotation)][::-1]


def every_choice(settings: type[Settings]) -> list[Any]:
    """Returns the base classes of all kinds that can stand in settings."""
    annotations = [field.annotation for here in every_section(settings) for field in here.model_fields.values()]
    return list(dict.fromkeys(member for one in annotations for member in _parts(one) if table.is_choice(member)))


def sections_in(annotation: Any) -> Iterator[type[Settings]]:
    """Yields the settings in an annotation, also within lists and mappings, with the kinds of installed packages."""
    for member in _parts(annotation):
        if table.is_choice(member):
            yield from (table.find(member, name) for name in table.names(member))
        elif isinstance(member, type) and issubclass(member, Settings):
            yield member


def _parts(annotation: Any) -> Iterator[Any]:
    """Yields the types in an annotation, those of the values of lists, tuples and mappings included."""
    for member in alternatives(annotation):
        arguments = () if get_origin(member) is Literal else get_args(member)
        yield from (part for argument in arguments for part in _parts(argument))
        if not arguments:
            yield member
