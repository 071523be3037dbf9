"""What settings mean, as text for a terminal: the tree of all sections, or one key with all kinds of its choice.

All of it comes from the JSON schema (`elboflow.settings.schema`).
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from elboflow.settings import RequestError
from elboflow.settings.explain import nearest
from elboflow.settings.yaml_writing import flow

_LEFT = 36  # columns of a key and its default
_NAME = "NAME"  # of an entry of a mapping

Node = dict[str, Any]


def describe(schema: Node, key: str | None = None, width: int = 80) -> str:
    """Returns the settings of a schema as text.

    Args:
        schema: What `json_schema` returned.
        key: A dotted key such as training.optimizer, or that of a kind, training.optimizer.lion. None describes all
            sections, of a choice only the names of its kinds.
        width: The length of a line.

    Raises:
        RequestError: There is no such key.
    """
    text = _Text(schema, width)
    if key is None:
        return "\n".join(text.keys(text.definition(schema), ()))
    found = [_Found(schema)]
    parts = key.split(".")
    for depth, part in enumerate(parts):
        below = [one for above in found for one in text.below(above.node, part)]
        if not below:
            at = ".".join(parts[:depth]) or "an experiment"
            allowed = list(dict.fromkeys(name for one in found for name in text.names(one.node)))
            raise RequestError(f"{key}: {at} has no {part!r}; {nearest(part, allowed)}")
        found = _joined(below)
    titles = [f"{key} of {', '.join(one.kinds)}" if len(found) > 1 else key for one in found]
    return "\n".join(line for title, one in zip(titles, found, strict=True) for line in text.whole(title, one)).lstrip(
        "\n"
    )


@dataclass(frozen=True)
class _Found:
    """What can stand under a key, in which kinds of the section that the key is in."""

    node: Node
    kinds: tuple[str, ...] = ()
    is_required: bool = False


def _joined(found: list[_Found]) -> list[_Found]:
    """Returns each description once, with all kinds that have it."""
    joined: list[_Found] = []
    for one in found:
        same = next((other for other in joined if replace(other, kinds=()) == replace(one, kinds=())), None)
        if same is None:
            joined.append(one)
        else:
            joined[joined.index(same)] = replace(same, kinds=(*same.kinds, *one.kinds))
    return joined


class _Text:
    def __init__(self, schema: Node, width: int) -> None:
        self._definitions, self._width = schema["$defs"], width
        self._told: dict[int, str] = {}  # where the keys of a section were described

    def definition(self, node: Node) -> Node:
        return self._definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else node

    def whole(self, key: str, found: _Found) -> Iterator[str]:
        """Yields a key, and all that can stand below it."""
        if not _kind(found.node):
            yield from self._line(found.node, key, "", found.is_required)
        for section in self._sections(found.node):
            if name := _kind(section):
                yield ""
                yield from self._wrapped(f"  {name}", section["description"])
            yield from self.keys(section, (key,), "    " if name else "  ")
        yield from self._entries(found.node, (key,), "  ")

    def keys(self, section: Node, path: tuple[str, ...], indent: str = "") -> Iterator[str]:
        """Yields the keys of a section, and once those of sections below it that are no choice."""
        if id(section) in self._told:
            yield from self._wrapped("", f"(its keys are those of {self._told[id(section)]})")
            return
        self._told[id(section)] = ".".join(path)
        required = section.get("required", ())
        for key, node in section["properties"].items():
            if "const" in node:
                continue
            yield from self._line(node, key, indent, is_required=key in required)
            below = self._sections(node) if len(self._kinds(node)) < 2 else []
            yield from (line for one in below for line in self.keys(one, (*path, key), f"{indent}  "))
            yield from self._entries(node, (*path, key), f"{indent}  ")

    def _entries(self, node: Node, path: tuple[str, ...], indent: str) -> Iterator[str]:
        """Yields the keys of the sections in a mapping or in a list, unless they are a choice."""
        for one in self._alternatives(node):
            for name, within in ((_NAME, one.get("additionalProperties")), ("-", one.get("items"))):
                if isinstance(within, dict) and not self._kinds(within):
                    for section in self._sections(within):
                        yield f"{indent}{name}"
                        yield from self.keys(section, (*path, name), f"{indent}  ")

    def below(self, node: Node, part: str) -> Iterator[_Found]:
        """Yields what stands below a node: under a key, in a kind, under a name of a mapping, or in a list."""
        for section in self._sections(node):
            name = _kind(section)
            if part in section["properties"]:
                kinds = (name,) if name else ()
                yield _Found(section["properties"][part], kinds, part in section.get("required", ()))
            if name == part:
                yield _Found(section)
        for one in self._alternatives(node):
            within = one.get("items") if part.isdecimal() else one.get("additionalProperties")
            if isinstance(within, dict):
                yield _Found(within)

    def names(self, node: Node) -> list[str]:
        """Returns the keys and the kinds below a node."""
        sections = self._sections(node)
        kinds = [name for one in sections if (name := _kind(one))]
        return [*(key for one in sections for key, value in one["properties"].items() if "const" not in value), *kinds]

    def _line(self, node: Node, key: str, indent: str, is_required: bool = False) -> Iterator[str]:
        default = f" = {flow(self._short(node['default'], node))}" if "default" in node else ""
        left = f"{indent}{key}{' (required)' if is_required else default}"
        meaning = node.get("description") or self.definition(node).get("description", "")
        allowed = self._type(node)
        yield from self._wrapped(left, "; ".join(filter(None, (allowed, meaning))))

    def _short(self, default: Any, node: Node) -> Any:
        """Returns a default without the defaults below it: the name of a kind, where nothing else is left."""
        chosen = default.get("kind") if isinstance(default, dict) else None
        section = next((one for one in self._sections(node) if _kind(one) == chosen), None)
        if section is None or not isinstance(default, dict):
            return default
        keys = section["properties"]
        short = {key: value for key, value in default.items() if key == "kind" or value != keys[key].get("default")}
        return chosen if [*short] == ["kind"] else short or default

    def _wrapped(self, left: str, right: str) -> Iterator[str]:
        lines = textwrap.wrap(right, max(30, self._width - _LEFT), break_long_words=False, break_on_hyphens=False)
        if len(left) >= _LEFT:
            yield left
            left = ""
        for line in lines or [""]:
            yield f"{left:{_LEFT}}{line}".rstrip()
            left = ""

    def _sections(self, node: Node) -> list[Node]:
        return [one for one in self._alternatives(node) if "properties" in one]

    def _alternatives(self, node: Node) -> list[Node]:
        here = self.definition(node)
        return [one for part in here["anyOf"] for one in self._alternatives(part)] if "anyOf" in here else [here]

    def _kinds(self, node: Node) -> list[str]:
        return [name for one in self._sections(node) if (name := _kind(one))]

    def _type(self, node: Node) -> str:
        """Returns what may stand under a key, in words; empty for a section."""
        words = [word for one in self._alternatives(node) if (word := self._word(one))]
        is_section = words and not self._kinds(node) and self._sections(node)
        return " | ".join(dict.fromkeys([*words, *(["section"] if is_section else [])]))

    def _word(self, node: Node) -> str:
        if "enum" in node:
            return " | ".join(map(str, node["enum"]))
        if "const" in node:
            return str(node["const"])
        if "properties" in node:
            return ""
        match node.get("type"):
            case "array" if "prefixItems" in node:
                return f"list of {len(node['prefixItems'])}: {self._type(node['prefixItems'][0])}"
            case "array":
                return f"list of {self._type(node['items']) or 'sections'}"
            case "object":
                names = " | ".join(node.get("propertyNames", {}).get("enum", [_NAME]))
                return f"{names}: {self._type(node['additionalProperties']) or 'section'}"
            case kind:
                return " ".join([_WORDS.get(str(kind), ""), *_bounds(node)])


_WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true | false", "null": "null"}
_SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _bounds(node: Node) -> Sequence[str]:
    bounds = [f"{sign} {node[bound]:,}" for bound, sign in _SIGNS.items() if bound in node]
    return [" and ".join(bounds)] if bounds else []


def _kind(section: Node) -> str | None:
    return section.get("properties", {}).get("kind", {}).get("const")
