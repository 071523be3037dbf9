"""Python, and the installed packages against what the project asks for and was tested with."""

import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from pipelines.targets.checks import Finding

OLDEST = (3, 11)
INSTALL = "pip install -c constraints.txt"


def python() -> Finding:
    """Looks at the version of Python."""
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < OLDEST:
        return Finding("Python", "ill", found, f"install Python {'.'.join(map(str, OLDEST))} or newer")
    return Finding("Python", "well", found)


def packages(backend: str) -> Iterator[Finding]:
    """Looks whether each package that the project, and a backend, needs is there in a version that will do."""
    wanted = [Requirement(text) for text in metadata.requires("elboflow") or []]
    extras = {"extra": "" if backend == "tensorflow" else backend}
    wanted = [each for each in wanted if each.marker is None or each.marker.evaluate(extras)]
    ill = list(filter(None, map(_wrong, wanted)))
    yield from ill
    if not ill:
        pinned = tested(Path(__file__).parents[2] / "constraints.txt")
        here = {each.name.lower(): metadata.version(each.name) for each in wanted}
        other = [f"{name} {found}" for name, found in here.items() if pinned.get(name, found) != found]
        tail = f"; other versions than those tested: {', '.join(sorted(other))}" if other else ""
        yield Finding("packages", "well", f"all {len(wanted)} that are needed are here{tail}")


def tested(constraints: Path) -> dict[str, str]:
    """Returns the versions that a file of pins names; none where there is no such file, as beside a wheel."""
    if not constraints.is_file():
        return {}
    lines = [line.partition("#")[0].strip() for line in constraints.read_text(encoding="utf-8").splitlines()]
    return {name.lower(): version for name, equals, version in (line.partition("==") for line in lines) if equals}


def _wrong(wanted: Requirement) -> Finding | None:
    found = _version(wanted.name)
    if found is not None and wanted.specifier.contains(found, prereleases=True):
        return None
    needed = f"{wanted.name}{wanted.specifier}"
    said = "is not installed" if found is None else f"is installed as {found}; needed: {wanted.specifier}"
    return Finding(f"package {wanted.name}", "ill", said, f"{INSTALL} '{needed}'")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
