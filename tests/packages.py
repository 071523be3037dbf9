"""Installed packages that a test makes up: a folder on `sys.path` with modules, metadata and entry points."""

from collections.abc import Mapping
from pathlib import Path

from elboflow.settings import table


def install(folder: Path, name: str, modules: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]]) -> None:
    """Writes a distribution as pip leaves it; the folder must be on `sys.path` to be found.

    Args:
        folder: Where it goes.
        name: Of the distribution, whose version is 1.2.3.
        modules: The source of each module, by name.
        entry_points: `module:attribute` by group and name.
    """
    metadata = folder / f"{name.replace('-', '_')}-1.2.3.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n", encoding="utf-8")
    lines = [
        line
        for group, points in entry_points.items()
        for line in (f"[{group}]", *(f"{point} = {place}" for point, place in points.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")


def forget() -> None:
    """Makes the next lookup of a kind see what is installed now."""
    for cached in (table.find, table._own, table._installed, table._selection):
        cached.cache_clear()
