"""YAML that a person wrote: plain values, and the line of each. Time and memory are bounded for any text.

Read are sections, lists, text, numbers, true, false and null, with anchors and merge keys (`<<`). Refused, with the
line, are other types and tags, a key that is given twice, and text beyond the limits below. An alias counts for as many
values as it stands for, so that a small text cannot grow into a large value.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from elboflow.settings.explain import Path, dotted
from elboflow.settings.text import short
from elboflow.settings.yaml_scalars import TAGS, ScalarError, plain, tagged, written_tag

MOST_BYTES = 1_000_000
MOST_VALUES = 10_000
MOST_LEVELS = 50
LONGEST_KEY = 200
LONGEST_TEXT = 10_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where PyYAML has it, is ten times as fast
_REFUSED_CHARACTER = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class YAMLTextError(ValueError):
    """A text is not YAML as it is read here. The message is a sentence about it, without the place.

    Attributes:
        line: The line, from 1, where one is to blame.
    """

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


@dataclass(frozen=True)
class Document:
    """What a text says.

    Attributes:
        value: The value, as plain data; None of an empty text.
        lines: The line of each key and of each item of a list, by its path.
    """

    value: Any
    lines: dict[Path, int]


def read(text: str) -> Document:
    """Reads one document of YAML.

    Raises:
        YAMLTextError: It is not YAML, holds more than plain values, or is beyond a limit.
    """
    if len(text) > MOST_BYTES:
        raise YAMLTextError(f"longer than {MOST_BYTES:,} characters")
    if found := _REFUSED_CHARACTER.search(text):
        raise YAMLTextError(f"the character U+{ord(found[0]):04X} is not allowed", _line(text, found.start()))
    if found := re.search("(?m)^%", text):  # that YAML 1.1 is meant, or that `!!int` stands for something else
        raise YAMLTextError("a directive, a line that begins with %, is not allowed", _line(text, found.start()))
    try:
        root = _Composer(text).document()
    except yaml.MarkedYAMLError as error:
        raise _invalid(error, text) from None
    except yaml.YAMLError as error:
        raise YAMLTextError(f"not valid YAML: {error}") from None
    lines: dict[Path, int] = {}
    return Document(None if root is None else _value(root, (), lines), lines)


@dataclass(frozen=True)
class _Node:
    """A value that was read.

    Attributes:
        value: A scalar, a list of nodes, or for each key its line and node.
        line: Where it begins.
        size: How many values it is, with all that is inside it; a long text counts for several.
        levels: How many sections and lists are inside each other, itself included.
    """

    value: "bool | int | float | str | list[_Node] | dict[str, tuple[int, _Node]] | None"
    line: int
    size: int = 1
    levels: int = 0


class _Composer:
    """Makes nodes of the parser's events, and counts them before they become many."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = yaml.parse(text, _LOADER)
        self._anchored: dict[str, _Node | None] = {}  # None: the node is not complete
        self._values = 0

    def document(self) -> _Node | None:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        root = self._node(next(self._events), ())
        next(self._events)  # the document's end
        after = next(self._events)
        if isinstance(after, yaml.DocumentStartEvent):
            raise YAMLTextError("a second document begins; there must be one", _line_of(after))
        return root

    def _node(self, event: Any, path: Path) -> _Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        if event.anchor is not None:
            self._anchored[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            size = 1 + len(event.value) // 100  # so that aliases of long text are bounded, too
            self._count(size - 1, event)
            node = _Node(_scalar(event), _line_of(event), size)
        else:
            self._levels_allowed(len(path) + 1, event)
            node = self._mapping(event, path) if isinstance(event, yaml.MappingStartEvent) else self._list(event, path)
        if event.anchor is not None:
            self._anchored[event.anchor] = node
        self._count(1, event)
        return node

    def _alias(self, event: Any, path: Path) -> _Node:
        if event.anchor not in self._anchored:
            raise YAMLTextError(f"*{short(event.anchor)} stands for nothing that is above it", _line_of(event))
        node = self._anchored[event.anchor]
        if node is None:
            raise YAMLTextError(f"*{short(event.anchor)} stands within what it stands for", _line_of(event))
        self._count(node.size, event)
        self._levels_allowed(len(path) + node.levels, event)
        return node

    def _list(self, event: Any, path: Path) -> _Node:
        _tag_must_be("seq", event)
        items: list[_Node] = []
        while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(item, (*path, len(items))))
        return _Node(items, _line_of(event), 1 + sum(item.size for item in items), _levels(items))

    def _mapping(self, event: Any, path: Path) -> _Node:
        _tag_must_be("map", event)
        entries: dict[str, tuple[int, _Node]] = {}
        below: dict[str, tuple[int, _Node]] = {}
        while not isinstance(key_event := next(self._events), yaml.MappingEndEvent):
            key, line, is_merge = _key(key_event), _line_of(key_event), _is_plain(key_event) and key_event.value == "<<"
            known = below if is_merge else entries
            if key in known:
                here, first = dotted((*path, key)), known[key][0]
                raise YAMLTextError(f"{here} is given twice, here and on line {first}", line)
            known[key] = line, self._node(next(self._events), (*path, key))
        if below:
            entries = _merged(*below["<<"]) | entries
        nodes = [node for _, node in entries.values()]
        return _Node(entries, _line_of(event), 1 + sum(node.size for node in nodes), _levels(nodes))

    def _count(self, values: int, event: Any) -> None:
        self._values += values
        if self._values > MOST_VALUES:
            raise YAMLTextError(f"more than {MOST_VALUES:,} values, aliases included", _line_of(event))

    def _levels_allowed(self, levels: int, event: Any) -> None:
        if levels > MOST_LEVELS:
            raise YAMLTextError(f"nested more deeply than {MOST_LEVELS} levels", _line_of(event))


def _scalar(event: Any) -> Any:
    if len(event.value) > LONGEST_TEXT:
        raise YAMLTextError(f"text longer than {LONGEST_TEXT:,} characters", _line_of(event))
    if "\0" in event.value or any("\ud800" <= character <= "\udfff" for character in event.value):
        raise YAMLTextError("text with a character that is not allowed: U+0000, or half of one", _line_of(event))
    try:
        if event.tag not in (None, "!"):
            return tagged(event.tag, event.value)
        return plain(event.value) if _is_plain(event) else event.value
    except ScalarError as error:
        raise YAMLTextError(str(error), _line_of(event)) from None


def _is_plain(event: Any) -> bool:
    """Whether a scalar has neither quotes nor a tag."""
    return event.style in (None, "") and event.tag in (None, "!")


def _key(event: Any) -> str:
    if not isinstance(event, yaml.ScalarEvent):
        raise YAMLTextError("a key must be text, not an alias, a list or a section", _line_of(event))
    if len(event.value) > LONGEST_KEY:
        raise YAMLTextError(f"a key longer than {LONGEST_KEY} characters", _line_of(event))
    key = _scalar(event)
    if not isinstance(key, str):
        raise YAMLTextError(f"the key {event.value or 'that is absent'} is not text; put it in quotes", _line_of(event))
    return key


def _merged(line: int, node: _Node) -> dict[str, tuple[int, _Node]]:
    """Returns the entries of the section, or sections, under `<<`: where several have a key, the first one wins."""
    sections = node.value if isinstance(node.value, list) else [node]
    entries: dict[str, tuple[int, _Node]] = {}
    for section in reversed(sections):
        if not isinstance(section.value, dict):
            raise YAMLTextError("<< takes a section or a list of sections: <<: *NAME", line)
        entries.update(section.value)
    return entries


def _invalid(error: yaml.MarkedYAMLError, text: str) -> YAMLTextError:
    mark, context = error.problem_mark, error.context_mark
    if mark is None:
        return YAMLTextError(f"not valid YAML: {error.problem}")
    if "nesting depth" in str(error.problem):  # of the parser, which reads ahead of what is counted here
        return YAMLTextError(f"nested more deeply than {MOST_LEVELS} levels", mark.line + 1)
    is_tab = text[mark.index : mark.index + 1] == "\t"
    problem = "a tab where only spaces may stand" if is_tab else error.problem
    line = min(mark.line + 1, max(1, len(text.splitlines())))  # where the end is missing, the mark is below the text
    began = f" ({error.context} from line {context.line + 1} on)" if context and context.line + 1 < line else ""
    return YAMLTextError(f"not valid YAML: {problem}{began}", line)


def _tag_must_be(name: str, event: Any) -> None:
    if event.tag not in (None, "!", TAGS + name):
        tag = short(written_tag(event.tag))
        raise YAMLTextError(f"the tag {tag} is not allowed; allowed here: !!{name}", _line_of(event))


def _levels(nodes: list[_Node]) -> int:
    return 1 + max((node.levels for node in nodes), default=0)


def _line_of(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _line(text: str, index: int) -> int:
    return text.count("\n", 0, index) + 1


def _value(node: _Node, path: Path, lines: dict[Path, int]) -> Any:
    """Returns a node as plain data, and notes the line of all that is in it."""
    if isinstance(node.value, list):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.line
        return [_value(item, (*path, index), lines) for index, item in enumerate(node.value)]
    if isinstance(node.value, dict):
        values = {}
        for key, (line, child) in node.value.items():
            lines[(*path, key)] = line
            values[key] = _value(child, (*path, key), lines)
        return values
    return node.value
