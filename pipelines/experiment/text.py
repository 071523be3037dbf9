"""The YAML text of an experiment: from a file or from the ready-made ones, with the line of every key."""

import itertools
import stat
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from elboflow.settings import RequestError, yaml_text
from elboflow.settings.explain import Path as Keys
from elboflow.settings.near import near
from pipelines.experiment.older_spellings import respelled, respelled_values


@dataclass(frozen=True)
class ExperimentText:
    """The YAML of an experiment.

    Attributes:
        name: The file's path, or the name of the ready-made experiment, for messages.
        text: The YAML.
        values: The values, as plain data.
        places: The place of each key, `FILE:LINE`, by path.
    """

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
    """Reads one YAML value, as `--set` takes it.

    Raises:
        YAMLTextError: It is not one.
    """
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
