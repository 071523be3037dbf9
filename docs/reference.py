"""The parts of the pages that are generated: all settings and all environment variables, of the code; the contents.

A page says where one belongs: `<!-- generated: settings -->`.
"""

import re
from collections.abc import Iterator
from typing import Any

from elboflow.settings.describe import describe
from elboflow.settings.schema import json_schema
from elboflow.settings.variables import VARIABLES
from pipelines.experiment import schema
from pipelines.workspace import WorkspaceSettings

_MARK = re.compile(r"<!-- generated: (\w+) -->")
_WIDTH = 84  # what fits in a page's column

CONTENTS = {
    "Use": (
        "tutorial",
        "data",
        "models",
        "training",
        "configuration",
        "components",
        "serving",
        "promotion",
        "operations",
    ),
    "Platforms": ("platforms", "images", "kubeflow", "vertex-ai"),
    "The project": ("architecture", "kinds", "testing", "benchmarks", "dependencies"),
}
"""The pages by chapter. A Git host would show Sphinx's directive, so it is no part of `index.md`."""


def filled(page: str) -> str:
    """Returns a page with its generated parts."""
    return _MARK.sub(lambda mark: _PARTS[mark[1]](), page)


def settings() -> str:
    """Returns a heading and a description for each section of an experiment, and for each choice in it."""
    whole, lines = schema(), []
    described: set[int] = set()
    for section, node in _alternatives(whole, whole)[0]["properties"].items():
        lines += _block("###", section, describe(whole, section, _WIDTH))
        for key in _choices(node, section, whole, described):
            if key != section:
                lines += _block("####", key, describe(whole, key, _WIDTH))
    return "\n".join(lines)


def workspace() -> str:
    """Returns a description of the settings of a workspace."""
    whole = json_schema(WorkspaceSettings, "The settings of a workspace")
    return "\n".join(["```text", *(describe(whole, key, _WIDTH) for key in WorkspaceSettings.model_fields), "```"])


def variables() -> str:
    """Returns a table of all environment variables."""
    lines = ["| variable | meaning | set by | read by |", "| --- | --- | --- | --- |"]
    lines += [f"| `{each.name}` | {each.meaning} | {each.set_by} | {each.read_by} |" for each in VARIABLES.values()]
    return "\n".join(lines)


def contents() -> str:
    """Returns the contents, as Sphinx takes them."""
    return "\n".join(
        "\n".join(["```{toctree}", ":hidden:", f":caption: {chapter}", "", *pages, "```", ""])
        for chapter, pages in CONTENTS.items()
    )


_PARTS = {"settings": settings, "workspace": workspace, "variables": variables, "contents": contents}


def _block(level: str, key: str, text: str) -> list[str]:
    return [f"{level} `{key}`", "", "```text", text, "```", ""]


def _choices(node: Any, key: str, whole: Any, described: set[int]) -> Iterator[str]:
    """Yields the keys below which a kind is chosen, each choice once."""
    found = _alternatives(node, whole)
    if id(found[0]) in described:
        return
    described.update(map(id, found))
    if any("const" in one.get("properties", {}).get("kind", {}) for one in found):
        yield key
    for one in found:
        for name, below in one.get("properties", {}).items():
            yield from _choices(below, f"{key}.{name}", whole, described)
        for name, within in (("NAME", one.get("additionalProperties")), ("0", one.get("items"))):
            if isinstance(within, dict):
                yield from _choices(within, f"{key}.{name}", whole, described)


def _alternatives(node: Any, whole: Any) -> list[Any]:
    """Returns what may stand at a place, each with its reference resolved."""
    if "$ref" in node:
        return _alternatives(whole["$defs"][node["$ref"].rpartition("/")[2]], whole)
    return [one for part in node["anyOf"] for one in _alternatives(part, whole)] if "anyOf" in node else [node]
