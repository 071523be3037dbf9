"""How a value in the place of a section is written in full, for the message that refuses it."""

from typing import Any

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
    annotation = here.model_fields[key].annotation
    if not takes(annotation, value):
        value = [value]
        if not takes(annotation, value):
            return None
    required = [name for name, field in here.model_fields.items() if field.is_required() and name != key]
    return {**({"kind": kind(here)} if kind(here) else {}), key: value, **dict.fromkeys(required, "…")}
