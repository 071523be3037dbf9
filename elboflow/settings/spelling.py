"""How a value in the place of a section is written in full, for the message that refuses it."""

from typing import Any

from pydantic import BeforeValidator, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from elboflow.settings.annotations import takes
from elboflow.settings.base import Settings
from elboflow.settings.layout import kind, sections

_MOST = 3
_LONGEST = 200


def in_full(annotation: Any, value: Any) -> str:
    """Returns `{kind: beta, beta: 4}` for 4 where an objective is wanted; empty if nothing is probable.

    Args:
        annotation: The annotation of the section, or of the choice between several.
        value: A scalar or a list that is written in its place.
    """
    from elboflow.settings.yaml_writing import flow  # PyYAML is not where models only predict

    found = [written for here in sections(annotation).values() if (written := _written(here, value)) is not None]
    if isinstance(value, str) and (named := [one for one in found if str(one.get("kind")) in value]):
        found = named  # a file `faces.npz`: the kind is npz
    if len(found) > _MOST:
        found = [{**found[0], "kind": "KIND"}] if len({tuple(one) for one in found}) == 1 else found[:_MOST]
    examples = " or ".join(map(flow, found))
    return examples if len(examples) <= _LONGEST else ""


def _written(here: type[Settings], value: Any) -> dict[str, Any] | None:
    key = here.main or here.short_form
    if key is None:
        return None
    annotation = _as_written(here.model_fields[key])
    if not takes(annotation, value):
        value = [value]
        if not takes(annotation, value):
            return None
    required = [name for name, field in here.model_fields.items() if field.is_required() and name != key]
    written = {**({"kind": kind(here)} if kind(here) else {}), key: value, **dict.fromkeys(required, "…")}
    return written if _is_allowed(here, key, written) else None


def _as_written(field: FieldInfo) -> Any:
    """Returns the annotation of what may be written, where a validator changes it: two numbers for an image's shape."""
    written = (mark.json_schema_input_type for mark in field.metadata if isinstance(mark, BeforeValidator))
    return next((annotation for annotation in written if annotation is not PydanticUndefined), field.annotation)


def _is_allowed(here: type[Settings], key: str, written: dict[str, Any]) -> bool:
    try:
        here.model_validate(written)
    except ValidationError as error:
        return all(line["loc"][:1] != (key,) for line in error.errors())
    return True
