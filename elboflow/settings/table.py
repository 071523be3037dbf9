"""The lookup of kinds: files in a folder of this program, and entry points of installed packages.

    [project.entry-points."elboflow.likelihoods"]
    student_t = "my_package:StudentT"

Names are looked up only there, so a settings file cannot cause the import of an arbitrary module.
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
    """Whether an annotation is a base class of kinds (`elboflow.settings.kinds`) rather than a kind."""
    return isinstance(annotation, type) and "group" in vars(annotation)


def names(base: Any) -> list[str]:
    """Returns the names of all kinds of a base class: built-in kinds first, then kinds of installed packages."""
    own = _own(base)
    return own + sorted(found.name for found in _installed(base.group) if found.name not in own)


def own_kinds(base: Any) -> dict[str, Any]:
    """Returns the built-in kinds of a base class, by name."""
    return {name: find(base, name) for name in _own(base)}


@cache
def find(base: Any, name: str) -> Any:
    """Returns the class of a kind.

    Raises:
        LookupError: There is no kind of this name.
        RequestError: The kind of an installed package cannot be imported, or is not a subclass of `base`.
    """
    if name in _own(base):
        return _defined(importlib.import_module(f"{base.folder}.{name}"), base, name)
    for found in _installed(base.group):
        if found.name == name:
            return _loaded(found, base)
    raise LookupError(name)


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
    return tuple(entry_points(group=group))


def _defined(module: ModuleType, base: Any, name: str) -> Any:
    """Returns the kind that a built-in module defines."""
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
    _installed_by[kind] = dist
    return kind


def _name(kind: Any) -> Any:
    return kind.model_fields["kind"].default
