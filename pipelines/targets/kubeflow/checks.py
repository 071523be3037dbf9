"""The checks of runs on Kubeflow: who asks, whether its API answers them, and in which version."""

from collections.abc import Iterator

from packaging.version import InvalidVersion, Version

from elboflow.settings import RequestError, WorkError
from pipelines.experiment import Experiment
from pipelines.experiment.kubeflow import KubeflowTarget
from pipelines.targets.checks import Check, Finding, data_check, image_checks, images_named, server_check
from pipelines.targets.kubeflow.api import API
from pipelines.targets.kubeflow.connection import OLDEST, Connection, credentials


def checks(experiment: Experiment) -> list[Check]:
    """Returns the checks for runs of an experiment on Kubeflow."""
    target = experiment.targets.kubeflow
    if target is None:
        raise RequestError(f"targets.kubeflow: missing; {experiment.name} does not say how to reach Kubeflow")
    return [
        data_check(experiment, "kubeflow"),
        Check("Kubeflow", lambda: api(target), seconds=20),
        server_check(target.tracking_uri),
        *image_checks(images_named(target.image)),
    ]


def api(target: KubeflowTarget) -> Iterator[Finding]:
    """Asks Kubeflow Pipelines for its version, and for runs of the namespace."""
    connection = Connection.of(target)
    what, platform = f"Kubeflow {target.host or ''}".strip(), API(connection)
    try:
        credentials(connection)
    except RequestError as error:
        yield _ill("credentials", error)
        return
    try:
        with platform.asking(f"the namespace {target.namespace}"):
            found = platform.version()
            platform.patiently(lambda: platform.client.list_runs(page_size=1))
    except (RequestError, WorkError) as error:
        yield _ill(what, error)
        return
    listed = f"runs in {target.namespace} can be listed"
    try:
        known = Version(found or "")
    except InvalidVersion:
        remedy = f"make sure that it is {OLDEST} or newer: an older one refuses the pipeline"
        yield Finding(what, "unknown", f"answers, and does not say its version; {listed}", remedy)
        return
    if known < Version(OLDEST):
        remedy = f"upgrade Kubeflow Pipelines to {OLDEST} or newer: it knows no final status for exit tasks"
        yield Finding(what, "problem", f"is version {known}", remedy)
    else:
        yield Finding(what, "ok", f"answers, version {known}; {listed}")


def _ill(what: str, error: Exception) -> Finding:
    found, _, remedy = str(error).rpartition("; ")
    return Finding(what, "problem", found or remedy, remedy if found else "look at targets.kubeflow")
