"""The services of Vertex AI's client that are used, without the others.

`google.cloud.aiplatform_v1` imports all of its forty services as soon as one is asked for, which takes three times as
long as a request. Its packages are therefore entered without what they gather, which comes when it is asked for.
"""

import importlib.util
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_PACKAGE = "google.cloud.aiplatform_v1"
_PACKAGES = ("", ".types", ".services", ".services.pipeline_service", ".services.schedule_service")


class _Package(ModuleType):
    """A package whose modules can be imported one by one; anything else that is asked of it makes it whole."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if importlib.util.find_spec(f"{self.__name__}.{name}") is not None:
            return import_module(f"{self.__name__}.{name}")
        object.__setattr__(self, "__class__", ModuleType)
        assert self.__spec__ is not None
        assert self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def service(name: str) -> Any:
    """Returns the module of a service's client, such as that of `pipeline_service`."""
    _enter()
    return import_module(f"{_PACKAGE}.services.{name}.client")


def types(name: str) -> Any:
    """Returns a module of messages, such as `pipeline_job`."""
    _enter()
    return import_module(f"{_PACKAGE}.types.{name}")


def _enter() -> None:
    if _PACKAGE in sys.modules:
        return
    for suffix in _PACKAGES:
        spec = importlib.util.find_spec(_PACKAGE + suffix)
        assert spec is not None
        package = _Package(spec.name)
        package.__spec__, package.__path__ = spec, list(spec.submodule_search_locations or ())
        package.__package__, package.__file__, package.__loader__ = spec.name, spec.origin, spec.loader
        sys.modules[spec.name] = package
        parent, _, own = spec.name.rpartition(".")
        setattr(sys.modules[parent], own, package)
