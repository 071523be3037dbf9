"""Steps whose inputs, settings, code and machine are those of a step of an earlier run: its outputs are used again.

The graph says which steps may be (`cached`, as on platforms). Beside the outputs of such a step stands the key of all
that they are a function of, and the digest of their content, by which a damaged folder is found out.
"""

import json
import logging
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.surroundings.code_version import code_version
from elboflow import artifacts as folders
from elboflow.artifacts import DamagedError, read_json, sha256, write_atomically
from elboflow.artifacts.manifest import Listed
from elboflow.settings import Settings, WorkError
from elboflow.settings.digest import digest
from elboflow.vae.compute import devices
from pipelines.targets.local import artifacts
from pipelines.targets.local.artifacts import Artifact

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

logger = logging.getLogger("elboflow.run")

MADE_OF = "made-of.json"
"""The key of a step that was run, and the content of its outputs, in its folder."""
_WITHOUT_INFLUENCE = {"experiment_name", "tracking_uri"}
"""Inputs of steps that say where a run is shown, not what it makes."""
_VARIABLES = (
    *("CUBLAS_", "CUDA_", "CUDNN_", "NCCL_", "NVIDIA_", "LIBTPU_", "PJRT_", "TPU_"),
    *("DNNL_", "GOMP_", "GOTO_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "OPENBLAS_"),
    *("JAX_", "KERAS_", "TF_", "TORCH_", "XLA_"),
)
"""What the names of environment variables begin with on which the rounding of results may depend."""
_OF_SCIKIT_LEARN = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}
"""Variables without such an influence, which the import of scikit-learn sets in its process."""
_MANIFESTS = ("dataset.json", "model.json", "evaluation.json")


@dataclass(frozen=True)
class Found:
    """The outputs of a step of an earlier run, whole and undamaged."""

    run: str
    outputs: Mapping[str, Artifact]


@dataclass(frozen=True)
class Cache:
    """The steps of earlier runs.

    Attributes:
        runs: The folder of the runs of a workspace.
    """

    runs: Path

    def key(self, step: str, inputs: Mapping[str, Any]) -> str | None:
        """Returns a digest of all that the outputs of a step are a function of; None where that cannot be told."""
        surroundings = _surroundings()
        given = {name: value for name, value in inputs.items() if name not in _WITHOUT_INFLUENCE}
        content = {name: _content(Path(value.uri)) for name, value in given.items() if isinstance(value, Artifact)}
        if surroundings is None or None in content.values():
            return None
        return digest({"step": step, "inputs": {**given, **content}, **surroundings, "variables": _variables()})

    def find(self, step: "BaseComponent", key: str) -> Found | None:
        """Returns the outputs of the newest step of a key that are as they were when they were made."""
        known = []
        for file in self.runs.glob(f"*/{step.name}/{MADE_OF}"):
            with suppress(OSError, DamagedError):  # another process may remove the run
                known.append((file.stat().st_mtime, file.parent, read_json(file, _Made.model_validate)))
        for _, folder, made in sorted(known, key=lambda each: each[0], reverse=True):
            if made.key == key and (outputs := _whole(step, folder, made.outputs)):
                return Found(folder.parent.name, outputs)
        return None

    def keep(self, step: "BaseComponent", folder: Path, key: str) -> None:
        """Writes down what the outputs of a step in its folder were made of."""
        contents = {name: _content(Path(made.uri)) or "" for name, made in artifacts.planned(step, folder).items()}
        with suppress(OSError):  # the disk is full: the next step will say so
            write_atomically(folder / MADE_OF, _Made(key=key, outputs=contents).model_dump_json() + "\n")


def maker(runs: Path, step: str, outputs: Mapping[str, Any]) -> str | None:
    """Returns how a run says that a step found its output made already, as `preprocess` does; None where it made it."""
    for name, artifact in outputs.items():
        if isinstance(artifact, Artifact) and artifact.metadata.get("reused"):
            made = [
                (file.stat().st_mtime, file.parents[1].name)
                for file in runs.glob(f"*/{step}/{artifacts.KEPT}")
                if (found := (artifacts.kept(file.parent) or {}).get(name)) is not None
                and (found.uri, found.metadata.get("reused")) == (artifact.uri, False)
            ]
            return f"cached from {max(made)[1] if made else 'an earlier run'}"
    return None


class _Made(Settings):
    key: str
    outputs: dict[str, str]


def _whole(step: "BaseComponent", folder: Path, contents: Mapping[str, str]) -> dict[str, Artifact] | None:
    """Returns the outputs in the folder of a step, in which the workspace may have been moved; None if damaged."""
    kept = artifacts.kept(folder) or {}
    found = {}
    for name, planned in artifacts.planned(step, folder).items():
        reason = _damage(Path(planned.uri), contents.get(name))
        if reason is not None or name not in kept:
            reason = reason or "its record is gone"
            logger.warning("the %s of %s does not serve again: %s", name, folder.parent.name, reason)
            return None
        found[name] = replace(kept[name], uri=planned.uri)
    return found


def _damage(folder: Path, content: str | None) -> str | None:
    """Returns what is wrong with a folder whose manifest had a content when it was made; None if nothing is."""
    if not content or _content(folder) != content:
        return f"{folder} is gone, or no longer what the run made"
    kind = next(Path(name).stem for name in _MANIFESTS if (folder / name).is_file())
    try:
        files = folders.load(folder, kind)["files"]
    except WorkError as error:
        return str(error)
    return folders.damage(folder, {name: Listed.model_validate(listed) for name, listed in files.items()})


def _content(folder: Path) -> str | None:
    """Returns the SHA-256 of the manifest of a folder, which lists the digest of each file; None without one."""
    with suppress(OSError):
        return next((sha256(folder / name) for name in _MANIFESTS if (folder / name).is_file()), None)
    return None


@cache
def _surroundings() -> dict[str, Any] | None:
    """Returns the code and the machine of a step, as JSON values; None where no version tells what the code is."""
    code, packages = code_version(), []
    if code == "unknown" or code.endswith("-dirty"):
        return None
    for package in metadata.distributions():
        name = package.metadata["Name"]
        # The commit, which is the version of a checkout of this project, tells that it was not changed.
        if _is_editable(package) and (name != "elboflow" or code == f"elboflow {package.version}"):
            return None
        packages.append(f"{name}=={package.version}")
    return {
        "code": code,
        "packages": sorted(set(packages)),
        "python": platform.python_version(),
        "processor": [platform.machine(), _processor(), _cores()],
        "accelerators": [*(gpu.name for gpu in devices.gpus()), *sorted(map(str, Path("/dev").glob("accel[0-9]*")))],
    }


def _is_editable(package: metadata.Distribution) -> bool:
    """Returns whether a package is a folder that somebody works in (PEP 610)."""
    with suppress(ValueError):
        origin = json.loads(package.read_text("direct_url.json") or "{}")
        return bool(origin.get("dir_info", {}).get("editable"))
    return False


def _variables() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_VARIABLES) and name not in _OF_SCIKIT_LEARN
    }


def _processor() -> str:
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    return platform.processor()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
