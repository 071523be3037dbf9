"""Lies on the path of executed steps: where a platform mounts its buckets under `/gcs/` and the like, a folder of this
machine stands. KFP's executor turns artifacts' URIs into paths by prefixes, which are set as soon as it is imported.
"""

import importlib.abc
import importlib.util
import json
import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PREFIXES = json.loads(os.environ.get("WIRE_MOUNT_PREFIXES", "{}"))
"""Names in `kfp.dsl.types.artifact_types`, with the folders that they are to hold, each with a slash at its end."""


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        vars(module).update(PREFIXES)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != "kfp.dsl.types.artifact_types":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            spec.loader = _Loader(spec.loader)
        return spec


if PREFIXES:
    sys.meta_path.insert(0, _Finder())
