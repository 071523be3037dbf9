"""`--set KEY=VALUE`: one value of an experiment, changed from the command line."""

import re
from typing import Any

from pydantic import BaseModel

from elboflow.settings import RequestError, Settings
from elboflow.settings.explain import Path, dotted, shown
from elboflow.settings.layout import inside, long_form, section
from elboflow.settings.yaml_text import MOST_LEVELS, YAMLTextError
from pipelines.experiment import text as source
from pipelines.experiment.text import respelled

ABSENT: Any = object()
"""The value of a key that is not written, or that has no default."""

_INDEX = re.compile("[0-9]{1,6}")


def override(values: dict[str, Any], assignment: str, settings: type[Settings]) -> tuple[dict[str, Any], Path]:
    """Returns the values of an experiment with one of them set, and the path of that one.

    A key below one that the experiment leaves to its default changes that default:
    `training.learning_rate.initial=0.01` keeps the default's kind, and `training.optimizer.kind=lion` has lion's own
    defaults. A choice in short form opens up: `model.encoder.hidden=[64]` on `encoder: mlp` is allowed.

    Args:
        values: The experiment as plain data.
        assignment: KEY=VALUE, the key dotted, the value in YAML.
        settings: What the experiment is made of.

    Raises:
        RequestError: The assignment is malformed, or leads through something that has no keys.
    """
    key, equals, text = assignment.partition("=")
    parts = key.split(".")
    if not equals or not all(parts) or len(parts) > MOST_LEVELS:
        raise RequestError(f"{option(assignment)}: expected KEY=VALUE, such as training.epochs=5")
    if not text.strip():
        raise RequestError(f"{option(assignment)}: there is no value after the =; for none, write null")
    try:
        value = source.value(text)
    except YAMLTextError as error:
        raise RequestError(f"{option(assignment)}: {error}") from None
    path = respelled(tuple(int(part) if _INDEX.fullmatch(part) else part for part in parts))
    try:
        return _set(values, settings, ABSENT, path, value), path
    except _DeadEndError as end:
        place = dotted(path[: len(path) - end.remaining])
        raise RequestError(f"{option(assignment)}: {place} is {shown(end.value)}, {end.reason}") from None


def option(assignment: str) -> str:
    """Returns an assignment for messages, shortened: `--set training.epochs=5`."""
    return f"--set {assignment if len(assignment) <= 200 else f'{assignment[:197]}…'}"


class _DeadEndError(Exception):
    def __init__(self, value: Any, remaining: int, reason: str) -> None:
        self.value, self.remaining, self.reason = value, remaining, reason


def _set(node: Any, annotation: Any, default: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    if node is ABSENT or node is None:
        node = {} if default is ABSENT or default is None else plain(default)
    node = long_form(node, annotation)
    key, rest = path[0], path[1:]
    if isinstance(node, dict):
        key = str(key)
        chosen = node.get("kind")
        if path == ("kind",) and chosen not in (None, value):
            node = _chosen(node, annotation)
        child = _set(
            node.get(key, ABSENT), inside(annotation, key, chosen), default_of(annotation, chosen, key), rest, value
        )
        return {**node, key: child}
    if isinstance(node, list):
        if not isinstance(key, int) or key >= len(node):
            raise _DeadEndError(node, len(path), f"and has the places 0 to {len(node) - 1}")
        return [*node[:key], _set(node[key], inside(annotation, key), ABSENT, rest, value), *node[key + 1 :]]
    raise _DeadEndError(node, len(path), "which has no keys")


def _chosen(node: dict[str, Any], annotation: Any) -> dict[str, Any]:
    """Returns a section without the defaults of its kind, because another kind has other defaults."""
    defaults = {key: default_of(annotation, node["kind"], key) for key in node}
    return {key: value for key, value in node.items() if value != _dumped(defaults[key])}


def default_of(annotation: Any, chosen: str | None, key: str) -> Any:
    """Returns the default of a key; ABSENT if the key is required or its default depends on other values."""
    here = section(annotation, chosen)
    field = here.model_fields.get(key) if here else None
    if field is None or field.is_required():
        return ABSENT
    if field.default_factory is dict:
        return {}
    return ABSENT if field.default_factory else field.default


def plain(default: Any) -> Any:
    """Returns a default as plain data, without the defaults below it."""
    if not isinstance(default, BaseModel):
        return default
    dumped, fields = _dumped(default), type(default).model_fields
    return {
        name: plain(value) if isinstance(value, BaseModel) else dumped[name]
        for name, value in default
        if name == "kind" or value != fields[name].get_default(call_default_factory=True)
    }


def _dumped(default: Any) -> Any:
    return default.model_dump(mode="json") if isinstance(default, BaseModel) else default
