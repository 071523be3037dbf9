"""Releases: a compiled pipeline under a version that never changes, so that production runs exactly what was tested.

Kubeflow keeps the versions of a pipeline itself; for Vertex AI they are in an Artifact Registry repository.
"""

import hashlib
import logging
import re
from dataclasses import dataclass
from importlib.metadata import version as installed
from typing import Protocol

from elboflow.settings import RequestError
from pipelines.experiment import Experiment
from pipelines.targets.submission import specification

logger = logging.getLogger("elboflow.releases")

_WRITTEN = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}"
_TAKEN = {"kubeflow": r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", "vertex": r"[a-z][a-z0-9-]{1,61}[a-z0-9]"}
"""What a platform takes: Kubeflow the name of a Kubernetes resource, Artifact Registry an id of Google's (AIP-122)."""


@dataclass(frozen=True)
class Release:
    """A published version.

    Attributes:
        reference: What a run is submitted of: what `Job.release` holds.
        digest: The SHA-256 of the compiled pipeline, in hexadecimal.
        published: Whether it was published now, and had not been there before.
    """

    experiment: str
    target: str
    version: str
    reference: str
    digest: str
    published: bool


class ReleaseStore(Protocol):
    """Where a platform keeps versions. All methods raise RequestError or WorkError, as targets do."""

    def find(self, pipeline: str, version: str) -> tuple[str, str | None] | None:
        """Returns a version's reference and the digest of what it holds, if it tells; None where there is none."""

    def put(self, pipeline: str, version: str, specification: str, digest: str) -> str:
        """Publishes a version that is not there yet, and returns its reference.

        Raises:
            FileExistsError: Another caller has published a version of this name in the meantime.
        """


def publish(experiment: Experiment, target: str, version: str | None = None) -> Release:
    """Publishes the pipeline of an experiment.

    Args:
        version: The version; by default made of the project's version and of the pipeline's digest.

    Raises:
        RequestError: The version is there already and holds another pipeline, the experiment does not say where
            versions are kept, or cannot run there. What can be checked is checked before the first request.
    """
    store, name = _store(experiment, target), None if version is None else platform_version(version, target)
    text = specification(experiment, target)
    digest = hashlib.sha256(text.encode()).hexdigest()
    name = name or f"v{installed('elboflow').replace('.', '-')}-{digest[:12]}"
    found = store.find(experiment.name, name)
    if found is None:
        try:
            reference = store.put(experiment.name, name, text, digest)
            return Release(experiment.name, target, name, reference, digest, published=True)
        except FileExistsError:
            found = store.find(experiment.name, name)
            if found is None:
                raise RequestError(f"{name}: another process publishes or deletes this version; try again") from None
    if found[1] != digest:
        held = f"sha256 {found[1]:.12}…" if found[1] else "one that does not tell its digest"
        raise RequestError(
            f"{experiment.name} {name} is published on {target} already, with another pipeline ({held}; this one is "
            f"{digest:.12}…); a version never changes, however it is written: choose another with --version"
        )
    return Release(experiment.name, target, name, found[0], digest, published=False)


def reference(experiment: Experiment, target: str, version: str | None) -> str | None:
    """Returns what a run of a published version is submitted of; None where none is asked for.

    Raises:
        RequestError: There is no such version.
    """
    if version is None:
        return None
    store, name = _store(experiment, target), platform_version(version, target)
    found = store.find(experiment.name, name)
    if found is None:
        raise RequestError(
            f"--release {version}: {experiment.name} has no such version on {target}; `elboflow publish` makes one"
        )
    return found[0]


def platform_version(version: str, target: str) -> str:
    """Returns the name that a platform keeps a version under, and says it where it differs.

    On Vertex AI, `v1.0.0` is `v1-0-0`, and `v1` is `v-1`: names have three characters there, and `v1-0` is `v1.0`.
    There, spellings are one version if they differ only in case, in a `v` before a number, or in which of . - _ + they
    have.

    Raises:
        RequestError: It is no version.
    """
    name = version.lower() if re.fullmatch(_WRITTEN, version) else ""
    name = re.sub(r"[_+]" if target == "kubeflow" else r"[._+]", "-", name)
    if target == "vertex":
        name = f"v{name}" if name[:1].isdigit() else name
        name = re.sub(r"^([a-z])([a-z0-9])$", r"\1-\2", name) if len(name) > 1 else f"v--{name}"
    if re.fullmatch(_TAKEN[target], name) is None:
        raise RequestError(
            f"{version}: a version has at most 63 letters, digits, dots, hyphens, underscores and plus signs, a letter "
            "or digit first and last: v1, v1.0.0, 2026-11-30"
        )
    if name != version:
        logger.info("the version %s is called %s on %s", version, name, target)
    return name


def _store(experiment: Experiment, target: str) -> ReleaseStore:
    if target == "kubeflow":
        from pipelines.releases.kubeflow import PipelineVersions

        return PipelineVersions.of(experiment)
    if target == "vertex":
        from pipelines.releases.vertex import Repository

        return Repository.of(experiment)
    raise RequestError("--release: published versions run on kubeflow and vertex; here, the experiment itself runs")
