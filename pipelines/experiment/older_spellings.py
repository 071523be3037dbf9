"""Keys of experiments that were renamed: the older spelling goes on being read, and a notice names the new one."""

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from elboflow.settings.explain import Path, dotted

Place = TypeVar("Place")

logger = logging.getLogger("elboflow.experiment")

RENAMED: Mapping[Path, Path] = {
    ("targets", target, step): ("targets", target, "steps", "register" if step == "registration" else step)
    for target in ("kubeflow", "vertex")
    for step in ("preprocess", "train", "evaluate", "registration")
}
"""Of 0.1.0: steps stood beside the other settings of a target."""


def respelled(path: Path) -> Path:
    """Returns the path of a key as it is spelled now."""
    for older, newer in RENAMED.items():
        if path[: len(older)] == older:
            _notice(older, newer)
            return (*newer, *path[len(older) :])
    return path


def respelled_values(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of an experiment, or of an overlay, under the keys as they are spelled now.

    A key that is given in both spellings stays, and is refused as an unknown one.
    """
    for older, newer in RENAMED.items():
        found = _section(values, older[:-1])
        if found is None or older[-1] not in found or _section(values, newer) is not None:
            continue
        _notice(older, newer)
        values = _moved(values, older, newer)
    return values


def _section(values: Any, path: Path) -> dict[str, Any] | None:
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else None


def _moved(values: dict[str, Any], older: Path, newer: Path) -> dict[str, Any]:
    key = str(older[0])
    if len(older) > 1:
        return {**values, key: _moved(values[key], older[1:], newer[1:])}
    rest = {name: value for name, value in values.items() if name != key}
    steps, step = map(str, newer)
    return {**rest, steps: {**(rest.get(steps) or {}), step: values[key]}}


@cache
def _notice(older: Path, newer: Path) -> None:
    logger.warning("%s is called %s now; the older spelling goes on being read", dotted(older), dotted(newer))
