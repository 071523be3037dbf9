"""Lies on the path of executed steps: where a platform mounts its buckets under `/gcs/` and the like, a folder of the
test stands. KFP's executor turns artifacts' URIs into paths by prefixes, which are set here as soon as it is imported.
"""

import importlib.abc
import importlib.util
import json
import os
import sys

PREFIXES = json.loads(os.environ.get("WIRE_MOUNT_PREFIXES", "{}"))
"""Names in `kfp.dsl.types.artifact_types`, with the folders that they are to hold, each with a slash at its end."""


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "kfp.dsl.types.artifact_types":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            vars(module).update(PREFIXES)

        spec.loader.exec_module = exec_module
        return spec


if PREFIXES:
    sys.meta_path.insert(0, _Finder())
