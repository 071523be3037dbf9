"""Releases: a compiled pipeline under a version that never changes, so that production runs exactly what was tested.

Kubeflow keeps the versions of a pipeline itself; for Vertex AI they are in an Artifact Registry repository.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.metadata import version as installed
from typing import Protocol

from elboflow.settings import RequestError
from pipelines.experiment import Experiment
from pipelines.targets.specification import specification

_VERSION = r"[a-z][a-z0-9-]{1,61}[a-z0-9]"  # what both platforms, and labels, take


@dataclass(frozen=True)
class Release:
    """A published version.

    Attributes:
        experiment: The experiment's name, which is the pipeline's.
        target: The platform.
        version: The version's name.
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


class Shelf(Protocol):
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
        experiment: The experiment.
        target: `kubeflow` or `vertex`.
        version: The version's name; by default made of the project's version and of the pipeline's digest.

    Raises:
        RequestError: The version is there already and holds another pipeline, or the experiment does not say where
            versions are kept.
    """
    text = specification(experiment, target)  # first: it sends no request, and refuses what no platform could run
    shelf = _shelf(experiment, target)
    digest = hashlib.sha256(text.encode()).hexdigest()
    name = version or f"v{installed('elboflow').replace('.', '-')}-{digest[:12]}"
    _check(name)
    found = shelf.find(experiment.name, name)
    if found is None:
        try:
            reference = shelf.put(experiment.name, name, text, digest)
            return Release(experiment.name, target, name, reference, digest, published=True)
        except FileExistsError:
            found = shelf.find(experiment.name, name)
            if found is None:
                raise RequestError(f"{name}: another process publishes or deletes this version; try again") from None
    if found[1] != digest:
        held = f"sha256 {found[1]:.12}…" if found[1] else "one that does not tell its digest"
        raise RequestError(
            f"{experiment.name} {name} is published on {target} already, with another pipeline ({held}; this one is "
            f"{digest:.12}…); a version never changes: choose another with --version"
        )
    return Release(experiment.name, target, name, found[0], digest, published=False)


def reference(experiment: Experiment, target: str, version: str) -> str:
    """Returns what a run of a published version is submitted of.

    Raises:
        RequestError: There is no such version.
    """
    _check(version)
    found = _shelf(experiment, target).find(experiment.name, version)
    if found is None:
        raise RequestError(
            f"--release {version}: {experiment.name} has no such version on {target}; `elboflow publish` makes one"
        )
    return found[0]


def _check(version: str) -> None:
    if re.fullmatch(_VERSION, version) is None:
        raise RequestError(
            f"{version}: a version has 3 to 63 lower-case letters, digits and hyphens, a letter first, no hyphen last"
        )


def _shelf(experiment: Experiment, target: str) -> Shelf:
    if target == "kubeflow":
        from pipelines.releases.kubeflow import PipelineVersions

        return PipelineVersions.of(experiment)
    if target == "vertex":
        from pipelines.releases.vertex import Repository

        return Repository.of(experiment)
    raise RequestError(f"--target {target}: versions are published on kubeflow and vertex")
