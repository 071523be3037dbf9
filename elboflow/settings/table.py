"""The kinds that may be chosen: files of a folder of this program, and entry points of installed packages.

    [project.entry-points."elboflow.likelihoods"]
    student_t = "my_package:StudentT"

A name is looked up in these tables and nowhere else: no file can have a module imported.
"""

import importlib
import pkgutil
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from elboflow.settings.errors import RequestError

_FRAMEWORKS = ("keras", "tensorflow", "jax", "torch")

_installed_by: dict[type, str] = {}


def is_choice(annotation: Any) -> bool:
    """Whether an annotation is a base class of kinds (`elboflow.settings.kinds`), and not one of the kinds."""
    return isinstance(annotation, type) and "group" in vars(annotation)


def names(base: Any) -> list[str]:
    """Returns the names of all kinds of a base class: this program's own, and those that installed packages add."""
    own = _own(base)
    return own + sorted(found.name for found in _installed(base.group) if found.name not in own)


def own_kinds(base: Any) -> dict[str, Any]:
    """Returns the kinds of a base class that are part of this program, by their names."""
    return {name: find(base, name) for name in _own(base)}


@cache
def find(base: Any, name: str) -> Any:
    """Returns the class of a kind.

    Raises:
        LookupError: There is none of this name.
        RequestError: An installed package has one of this name that cannot be used.
    """
    if name in _own(base):
        return _defined(importlib.import_module(f"{base.folder}.{name}"), base, name)
    for found in _installed(base.group):
        if found.name == name:
            return _loaded(found, base)
    raise LookupError(name)


def installed_by(kind: type) -> str | None:
    """Returns distribution and version of the installed package that a kind is from; None for this program's own."""
    return _installed_by.get(kind)


@cache
def _own(base: Any) -> list[str]:
    if base.folder is None:
        return []
    folder = importlib.import_module(base.folder)
    return sorted(module.name for module in pkgutil.iter_modules(folder.__path__) if not module.name.startswith("_"))


@cache
def _installed(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _defined(module: ModuleType, base: Any, name: str) -> Any:
    """Returns the kind that a file of this program defines."""
    return next(
        found
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, base) and found is not base and _name(found) == name
    )


def _loaded(found: EntryPoint, base: Any) -> Any:
    dist = f"{found.dist.name} {found.dist.version}" if found.dist else "an unnamed package"
    entry = f"the entry point {found.name!r} in {base.group} of {dist}"
    before = [name for name in _FRAMEWORKS if name in sys.modules]
    try:
        kind = found.load()
    except Exception as error:  # another package's code: anything may be wrong in it
        raise RequestError(f"{entry} cannot be imported: {type(error).__name__}: {error}") from error
    if imported := [name for name in _FRAMEWORKS if name in sys.modules and name not in before]:
        raise RequestError(
            f"{entry} imports {imported[0]} when it is loaded, before a backend is chosen; import it inside functions, "
            "and use elboflow.vae.ops instead of keras.ops"
        )
    if not (isinstance(kind, type) and issubclass(kind, base) and _name(kind) == found.name):
        raise RequestError(
            f"{entry} is {found.value}; a subclass of {base.__module__}.{base.__name__} whose `kind` is "
            f"{found.name!r} is expected"
        )
    _installed_by[kind] = dist
    return kind


def _name(kind: Any) -> Any:
    return kind.model_fields["kind"].default
