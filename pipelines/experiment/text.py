"""The YAML text of an experiment: from a file or from the ready-made ones, with the line of every key."""

import itertools
import logging
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from elboflow.settings import RequestError, yaml_text
from elboflow.settings.explain import Path as Keys
from elboflow.settings.explain import dotted
from elboflow.settings.near import near

logger = logging.getLogger("elboflow.experiment")

RENAMED: Mapping[Keys, Keys] = {
    ("targets", target, step): ("targets", target, "steps", "register" if step == "registration" else step)
    for target in ("kubeflow", "vertex")
    for step in ("preprocess", "train", "evaluate", "registration")
}
"""Keys that were renamed: the older spelling goes on being read. In 0.1.0, steps stood beside a target's settings."""


@dataclass(frozen=True)
class ExperimentText:
    """The YAML of an experiment; `name` is its file or ready-made name, `places` has the `FILE:LINE` of each key."""

    name: str
    text: str
    values: dict[str, Any]
    places: dict[Keys, str] = field(repr=False)

    def place(self, path: Keys) -> str:
        """Returns the place of a key, or of the nearest section above it: `FILE:LINE`; the file if there is neither."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path] if path else self.name

    @property
    def introduction(self) -> list[str]:
        """The comment at the top of the text, line by line."""
        lines = self.text.splitlines()
        return [line.lstrip("#").strip() for line in itertools.takewhile(lambda line: line.startswith("#"), lines)]


def ready_made() -> dict[str, str]:
    """Returns the experiments that come with the project: their texts by name."""
    files = resources.files("pipelines").joinpath("experiments").iterdir()
    texts = {
        file.name.removesuffix(".yaml"): file.read_text(encoding="utf-8")
        for file in files
        if file.name.endswith(".yaml")
    }
    return dict(sorted(texts.items()))


def find(experiment: str) -> ExperimentText:
    """Reads an experiment, given as the path of a YAML file or as the name of a ready-made one.

    Raises:
        RequestError: There is neither, or the file cannot be read as YAML (`elboflow/settings/yaml_text.py`).
    """
    text = None if "\0" in experiment else _read(experiment)
    if text is not None:
        return parse(experiment, text)
    texts = ready_made()
    if experiment in texts:
        return parse(experiment, texts[experiment])
    meant = near(experiment, texts)
    hint = f"did you mean '{meant}'? " if meant else ""
    is_path = experiment.endswith((".yaml", ".yml")) or "/" in experiment
    what = "no such file" if is_path else "no such file or experiment"
    raise RequestError(f"{experiment}: {what}; {hint}ready-made experiments: {', '.join(texts)}")


def parse(name: str, text: str) -> ExperimentText:
    """Reads the text of an experiment.

    Raises:
        RequestError: The text is not YAML, or is not a section of keys and values.
    """
    try:
        document = yaml_text.read(text)
    except yaml_text.YAMLTextError as error:
        raise RequestError(f"{name}{'' if error.line is None else f':{error.line}'}: {error}") from None
    values = {} if document.value is None else document.value
    if not isinstance(values, dict):
        raise RequestError(f"{name}: an experiment is a section of keys and values, such as `name: digits`")
    places = {respelled(path): f"{name}:{line}" for path, line in document.lines.items()}
    return ExperimentText(name, text, respelled_values(values), places)


def value(text: str) -> Any:
    """Reads one YAML value, as `--set` takes it, or raises YAMLTextError."""
    return yaml_text.read(text).value


def _read(experiment: str) -> str | None:
    """Returns the text of a file, or None if there is no such file."""
    path = Path(experiment)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode) and experiment in ready_made():
            return None
        if stat.S_ISREG(mode):
            with path.open("rb") as file:
                return _text(experiment, file.read(yaml_text.MOST_BYTES + 1))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RequestError(f"{experiment}: cannot be read: {error.strerror}") from None
    what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"  # which might never end
    raise RequestError(f"{experiment}: is {what}; an experiment is a YAML file")


def _text(name: str, content: bytes) -> str:
    if len(content) > yaml_text.MOST_BYTES:
        raise RequestError(f"{name}: larger than {yaml_text.MOST_BYTES:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RequestError(f"{name}:{line}: not text in UTF-8: the byte 0x{content[error.start]:02x}") from None


def respelled(path: Keys) -> Keys:
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


def _section(values: Any, path: Keys) -> dict[str, Any] | None:
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else None


def _moved(values: dict[str, Any], older: Keys, newer: Keys) -> dict[str, Any]:
    key = str(older[0])
    if len(older) > 1:
        return {**values, key: _moved(values[key], older[1:], newer[1:])}
    rest = {name: value for name, value in values.items() if name != key}
    steps, step = map(str, newer)
    return {**rest, steps: {**(rest.get(steps) or {}), step: values[key]}}


@cache
def _notice(older: Keys, newer: Keys) -> None:
    logger.warning("%s is called %s now; the older spelling goes on being read", dotted(older), dotted(newer))
