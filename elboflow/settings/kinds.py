"""Settings chosen by `kind`; installed packages can add kinds.

A base class defines a choice. Each kind is a subclass in its own file, in the folder of the base class. The file has
the name of the kind:

    class Likelihood(Kind):                             # likelihoods/__init__.py
        group, folder = "elboflow.likelihoods", __name__

    class Bernoulli(Likelihood):                        # likelihoods/bernoulli.py
        kind: Literal["bernoulli"] = "bernoulli"

A field of type `Likelihood` then accepts `bernoulli`, or `{kind: bernoulli, …}`, or a kind of an installed package with
an entry point in the group (`elboflow.settings.table`).
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, Self

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from elboflow.settings import Settings, by_name, table
from elboflow.settings.explain import ConflictsError, explain


class Kind(Settings):
    """Settings chosen by their `kind`. `group`, `folder` and `usual` are attributes of a base class.

    Attributes:
        group: The entry point group for kinds of installed packages.
        folder: The package whose modules are the built-in kinds; None if there are none.
        usual: The default kind; None if `kind` is required.
        kind: The name of the kind.
    """

    group: ClassVar[str]
    folder: ClassVar[str | None]
    usual: ClassVar[str | None] = None
    kind: str

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not table.is_choice(cls):
            return handler(source)
        return core_schema.no_info_plain_validator_function(
            partial(_parse, cls),
            serialization=core_schema.plain_serializer_function_ser_schema(_dump, info_arg=True),
        )

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Returns the settings from plain data, such as a name or a dictionary with `kind`."""
        return cls.model_validate(value)


def origins(settings: Any) -> dict[str, str]:
    """Returns the installed packages whose kinds occur in settings: distribution and version by `GROUP:KIND`."""
    return {
        f"{kind.group}:{kind.kind}": package
        for kind in _kinds(settings)
        if (package := table.installed_by(type(kind))) is not None
    }


def _kinds(value: Any) -> Iterator[Kind]:
    if isinstance(value, Kind):
        yield value
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for part in value:
        yield from _kinds(part)


def _parse(base: type[Kind], value: Any) -> Kind:
    value = by_name(value)
    if isinstance(value, base):
        return value
    if not isinstance(value, dict):
        raise PydanticKnownError("model_type", {"class_name": base.__name__})
    name = value.get("kind", base.usual)
    if name is None:
        raise PydanticKnownError("union_tag_not_found", {"discriminator": "'kind'"})
    try:
        found = table.find(base, name) if isinstance(name, str) else None
    except LookupError:
        found = None
    if found is None:
        tags = {"discriminator": "'kind'", "tag": str(name), "expected_tags": ", ".join(table.names(base))}
        raise PydanticKnownError("union_tag_invalid", tags)
    try:
        return found.model_validate(value)
    except ValidationError as error:
        raise ConflictsError(explain(error, found)) from None


def _dump(kind: Kind, info: Any) -> Any:
    return kind.model_dump(mode=info.mode)
