"""The MLflow runs that Kubeflow Pipelines makes by itself, where its operator turned that on.

It then has a run for each pipeline run, below it one for each task, and names them to the task's container
(https://www.kubeflow.org/docs/components/pipelines/operator-guides/mlflow-plugin/):

    MLFLOW_TRACKING_URI, MLFLOW_WORKSPACE    its MLflow
    MLFLOW_EXPERIMENT_ID                     the experiment of its runs
    MLFLOW_RUN_ID                            the run of the task

Our run of a pipeline run stands in the same experiment, below the platform's run of the same pipeline run. An
experiment that names another MLflow keeps it: its runs stand there as without all this, and a tag names the platform's.

The variables count in a pod of Kubeflow Pipelines only. On other machines people set them for other reasons.
"""

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from components.surroundings.masking import masked, without_userinfo
from components.tracking import databases, tags
from elboflow.settings.variables import SECRETS

if TYPE_CHECKING:
    from mlflow import MlflowClient

POD = "KFP_POD_NAME"
"""The environment variable that Kubeflow Pipelines, and no other platform, gives to its steps."""
PLATFORM_RUN = "elboflow.platform_run"
"""The tag of a run whose platform records the same pipeline run in another MLflow: the page of the task there."""

_HOW_TO_ASK = ("MLFLOW_WORKSPACE", "MLFLOW_TRACKING_AUTH")
_DEEPEST = 8
"""Runs from a task's up to the pipeline run's: one for each loop between them."""

logger = logging.getLogger("elboflow.tracking")


@dataclass(frozen=True)
class PlatformRun:
    """The platform's run of a task.

    Attributes:
        uri: Its MLflow.
        experiment_id: Its experiment there.
        task: Its id.
    """

    uri: str
    experiment_id: str
    task: str

    @property
    def page(self) -> str:
        """The address of its page."""
        return f"{without_userinfo(self.uri).rstrip('/')}/#/experiments/{self.experiment_id}/runs/{self.task}"


def named() -> PlatformRun | None:
    """Returns the run that the platform has made of this task; None where it makes none."""
    found = [os.environ.get(f"MLFLOW_{name}", "") for name in ("TRACKING_URI", "EXPERIMENT_ID", "RUN_ID")]
    return PlatformRun(*found) if os.environ.get(POD) and all(found) else None


def within(tracking_uri: str) -> PlatformRun | None:
    """Returns the run that the platform has made of this task in an MLflow; None where it makes none there."""
    found = named()
    return found if found is not None and _normal(found.uri) == _normal(tracking_uri) else None


def leave_apart(tracking_uri: str) -> None:
    """Has another MLflow than the platform's asked as if there were no such: without its workspace.

    What the experiment itself gives to its steps stays.
    """
    if named() is not None and within(tracking_uri) is None:
        given = os.environ.get(SECRETS, "").split(",")
        for variable in _HOW_TO_ASK:
            if variable not in given:
                os.environ.pop(variable, None)


def links(client: "MlflowClient", tracking_uri: str) -> dict[str, str]:
    """Returns the tags by which a new run is linked with the platform's run of the same pipeline run."""
    found = named()
    if found is None:
        return {}
    if within(tracking_uri) is None:
        ours, its = masked(tracking_uri), masked(found.uri)
        logger.info("Kubeflow records this run in the MLflow at %s, and the experiment in that at %s", its, ours)
        return {PLATFORM_RUN: found.page}
    parent = _top(client, found.task)
    return {} if parent is None else {tags.PARENT: parent}


def _top(client: "MlflowClient", task: str) -> str | None:
    """Returns the run of the pipeline run that a task belongs to, as far up as MLflow knows it; None if it knows none.

    Between the two are those of loops, if the task is in one.
    """
    from mlflow import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    top, above = None, task
    for _ in range(_DEEPEST):
        try:
            found = client.get_run(above)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            logger.warning("MLflow has lost the run %s, which Kubeflow has made", above)
            break
        top, above = above, found.data.tags.get(tags.PARENT, "")
        if not above:
            break
    return top


def _normal(uri: str) -> str:
    if databases.file_of(uri) is not None:
        return databases.normal(uri)
    parts = urlsplit(without_userinfo(uri))
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), parts.path.rstrip("/"), parts.query, ""))
