"""Environments: `faces.prod.yaml`, beside `faces.yaml`, is the overlay for the environment `prod`.

The overlay is merged over the experiment, section by section:

    key: value          replaces the value; a list is a value
    section: {…}        is merged, also into what the experiment leaves to its default
    choice: {kind: …}   is merged into a choice of the same kind, and replaces one of another kind
    name: null          removes an entry of a mapping, such as a feature or a label, if it is there; elsewhere null is a
                        value

The overlay of a ready-made experiment is looked for in the folder in which the command runs.
"""

import re
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any

from elboflow.settings import RequestError, Settings
from elboflow.settings.annotations import alternatives
from elboflow.settings.explain import Path as Keys
from elboflow.settings.layout import has_kinds, inside, long_form, sections
from pipelines.experiment import text as source
from pipelines.experiment.overrides import ABSENT, default_of, plain
from pipelines.experiment.text import ExperimentText

_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"


def find(experiment: str, env: str) -> ExperimentText:
    """Reads the overlay of an experiment for an environment.

    Raises:
        RequestError: There is none, or it cannot be read as YAML with unique keys.
    """
    if re.fullmatch(_NAME, env) is None:
        raise RequestError(f"--env {env}: an environment's name has letters, digits, hyphens and underscores")
    path = _overlay(experiment, env)
    if not path.is_file():
        found = existing(experiment)
        others = f"the environments of {experiment}: {', '.join(found)}" if found else f"{experiment} has none"
        raise RequestError(f"--env {env}: there is no {path}, which would say what is different in {env}; {others}")
    return source.find(str(path))


def existing(experiment: str) -> list[str]:
    """Returns the names of the environments for which an experiment has an overlay."""
    start, end = _overlay(experiment, "*").name.rsplit("*", 1)
    folder = _overlay(experiment, "*").parent
    files = [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    middles = [name[len(start) : -len(end)] for name in files if name.startswith(start) and name.endswith(end)]
    return sorted(middle for middle in middles if re.fullmatch(_NAME, middle))


def merge(base: ExperimentText, overlay: ExperimentText, settings: type[Settings]) -> ExperimentText:
    """Returns an experiment with an overlay merged over it. The place of each key is in the file that sets it."""
    places = dict(base.places)

    def taken(path: Keys, value: Any) -> Any:
        for written in [written for written in places if written[: len(path)] == path]:
            del places[written]
        places.update({written: place for written, place in overlay.places.items() if written[: len(path)] == path})
        return value

    def merged(below: Any, above: Any, annotation: Any, default: Any, path: Keys) -> Any:
        before = below
        if below is ABSENT or (below is None and isinstance(above, dict)):
            below = None if default is ABSENT else plain(default)
        below, above = long_form(below, annotation), long_form(above, annotation)
        if not isinstance(below, dict | None) or not isinstance(above, dict):
            return taken(path, above)
        chosen = (below or above).get("kind") if has_kinds(annotation) else None
        if chosen is not None and above.get("kind", chosen) != chosen:
            return taken(path, above)
        result = start = dict(below or {})
        for key, value in above.items():
            here = inside(annotation, key, chosen)
            if value is None and _is_mapping(annotation) and NoneType not in alternatives(here):
                result = {name: entry for name, entry in result.items() if name != key}
                taken((*path, key), None)
            else:
                default = default_of(annotation, chosen, key)
                new = merged(result.get(key, ABSENT), value, here, default, (*path, key))
                if new is not ABSENT:
                    result = {**result, key: new}
        if (before is ABSENT or before is None) and above and result == start:
            return before  # entries were taken out of a section that is not there
        if path in overlay.places and (path not in places or before is None):
            places[path] = overlay.places[path]
        return result

    return replace(base, values=merged(base.values, overlay.values, settings, ABSENT, ()), places=places)


def _overlay(experiment: str, env: str) -> Path:
    path = Path(experiment)
    return (
        path.with_name(f"{path.stem}.{env}{path.suffix or '.yaml'}") if path.is_file() else Path(f"{path}.{env}.yaml")
    )


def _is_mapping(annotation: Any) -> bool:
    """Whether the value is a mapping with names of the user's choice, and not a section."""
    return not sections(annotation) and inside(annotation, "") is not None
