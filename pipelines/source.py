"""The YAML text of an experiment: from a file or from the ready-made ones, with the line of every key."""

import itertools
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, cast

import yaml

from settings import RequestError
from settings.explain import Path as Keys
from settings.explain import dotted


@dataclass(frozen=True)
class Source:
    """An experiment as it was written.

    Attributes:
        name: What messages call it: the file's path, or the name of the ready-made one.
        text: The YAML.
        values: The YAML's values, as plain data.
        places: Where each key stands, by path: `FILE:LINE`.
    """

    name: str
    text: str
    values: dict[str, Any]
    places: dict[Keys, str] = field(repr=False)

    def place(self, path: Keys) -> str:
        """Returns where to look for a key: `FILE:LINE`, or the file alone for what it does not mention."""
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


def find(experiment: str) -> Source:
    """Reads an experiment, given as the path of a YAML file or as the name of a ready-made one.

    Raises:
        RequestError: There is neither, or the file cannot be read as YAML with unique keys.
    """
    path = Path(experiment)
    if path.is_file():
        try:
            return parse(experiment, path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(f"{experiment}: cannot be read: {error}") from None
    texts = ready_made()
    if experiment in texts:
        return parse(experiment, texts[experiment])
    near = get_close_matches(experiment, texts, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    what = "no such file" if path.suffix in (".yaml", ".yml") or "/" in experiment else "no such file or experiment"
    raise RequestError(f"{experiment}: {what}; {hint}ready-made experiments: {', '.join(texts)}")


def parse(name: str, text: str) -> Source:
    """Reads YAML by safe_load's rules, but refuses a key that is given twice.

    Raises:
        RequestError: The text is not YAML, gives a key twice, or is not a section of keys and values.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        lines: dict[Keys, int] = {}
        if root is not None:
            _note_lines(name, root, (), lines)
        values = loader.construct_document(root) if root is not None else {}
    except RecursionError:
        raise RequestError(f"{name}: {_TOO_DEEP}") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RequestError(f"{name}{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise RequestError(f"{name}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise RequestError(f"{name}: an experiment is a section of keys and values, such as `name: digits`")
    return Source(name, text, values, {path: f"{name}:{line}" for path, line in lines.items()})


def value(text: str) -> Any:
    """Reads one YAML value, as `--set` takes it.

    Raises:
        yaml.YAMLError: It is not one.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError(_TOO_DEEP) from None


_TOO_DEEP = "sections are nested too deeply"


class _Loader(yaml.SafeLoader):
    """safe_load, with `1e-3` a number as in YAML 1.2 (in YAML 1.1 it is a text), and no section within itself."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open: list[str | None] = []

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self._open:
                problem = f"*{event.anchor} stands within what it stands for"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=cast(yaml.Mark, event.start_mark))
            return super().compose_node(parent, index)
        self._open.append(event.anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _note_lines(name: str, node: yaml.Node, path: Keys, lines: dict[Keys, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = (*path, str(key_node.value))
            line = key_node.start_mark.line + 1
            if key in lines:
                raise RequestError(f"{name}:{line}: {dotted(key)} is given twice, here and on line {lines[key]}")
            lines[key] = line
            _note_lines(name, value_node, key, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _note_lines(name, item, (*path, index), lines)
