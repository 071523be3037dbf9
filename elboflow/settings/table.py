"""The lookup of kinds: files in a folder of this program, and entry points of installed packages.

    [project.entry-points."elboflow.likelihoods"]
    student_t = "my_package:StudentT"

Names are looked up only there, so a settings file cannot cause the import of an arbitrary module. A name that two of
them define is an error: what else is installed must not change the meaning of an experiment.
"""

import importlib
import pkgutil
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points, version
from types import ModuleType
from typing import Any

from elboflow.settings.errors import RequestError

_FRAMEWORKS = ("keras", "tensorflow", "jax", "torch")

_installed_by: dict[type, str] = {}


def is_choice(annotation: Any) -> bool:
    """Whether an annotation is a base class of kinds (`elboflow.settings.kinds`) rather than a kind."""
    return isinstance(annotation, type) and "group" in vars(annotation)


def names(base: Any) -> list[str]:
    """Returns the names of all kinds of a base class: built-in kinds first, then kinds of installed packages."""
    own = _own(base)
    return own + sorted({found.name for found in _installed(base.group)} - {*own})


def own_kinds(base: Any) -> dict[str, Any]:
    """Returns the built-in kinds of a base class, by name."""
    return {name: find(base, name) for name in _own(base)}


@cache
def find(base: Any, name: str) -> Any:
    """Returns the class of a kind.

    Raises:
        LookupError: There is no kind of this name.
        RequestError: The kind of an installed package cannot be imported, is not a subclass of `base`, or several
            packages define it.
    """
    is_own = name in _own(base)
    installed = [found for found in _installed(base.group) if found.name == name]
    if len(installed) + is_own > 1:
        packages = [*([f"elboflow {version('elboflow')}"] if is_own else []), *sorted(map(_package, installed))]
        raise RequestError(
            f"the kind {name!r} of {base.group} is in {' and in '.join(packages)}: which one is meant is not clear; "
            "uninstall the others"
        )
    if is_own:
        return _defined(importlib.import_module(f"{base.folder}.{name}"), base, name)
    if not installed:
        raise LookupError(name)
    return _loaded(installed[0], base)


def installed_by(kind: type) -> str | None:
    """Returns distribution and version of a kind's package; None for built-in kinds."""
    return _installed_by.get(kind)


@cache
def _own(base: Any) -> list[str]:
    if base.folder is None:
        return []
    folder = importlib.import_module(base.folder)
    return sorted(module.name for module in pkgutil.iter_modules(folder.__path__) if not module.name.startswith("_"))


@cache
def _installed(group: str) -> tuple[EntryPoint, ...]:
    return tuple(_selection()(group=group))


@cache
def _selection() -> Callable[..., EntryPoints]:
    return entry_points().select  # `entry_points` reads files of every installed package


def _defined(module: ModuleType, base: Any, name: str) -> Any:
    """Returns the kind that a built-in module defines."""
    return next(
        found
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, base) and found is not base and _name(found) == name
    )


def _loaded(found: EntryPoint, base: Any) -> Any:
    dist = _package(found)
    entry = f"the entry point {found.name!r} in {base.group} of {dist}"
    before = [name for name in _FRAMEWORKS if name in sys.modules]
    try:
        kind = found.load()
    except Exception as error:  # the code of another package can raise any exception
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
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise RequestError(f"{entry} lacks {', '.join(missing)}, which every kind of {base.group} must define")
    _installed_by[kind] = dist
    return kind


def _package(found: EntryPoint) -> str:
    """Returns distribution and version of an entry point."""
    return f"{found.dist.name} {found.dist.version}" if found.dist else "an unnamed package"


def _name(kind: Any) -> Any:
    return kind.model_fields["kind"].default
