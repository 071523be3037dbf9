"""TrainJobs by the API of the cluster that this pod is in, as its service account may ask for them.

`infra/kubernetes/kubeflow` gives it the right to.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from components.surroundings import retries
from components.surroundings.masking import masked
from components.tracking.platform_runs import POD
from elboflow.settings import RequestError, WorkError

_GROUP, _VERSION, _PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
_SECONDS = 30

Answer = TypeVar("Answer")


class NoAnswerError(WorkError):
    """The cluster does not answer, or is busy."""


class ClusterAPI:
    """The TrainJobs of a namespace.

    Args:
        namespace: The namespace.

    Raises:
        RequestError: This process is in no pod of a cluster, and $KUBECONFIG names none.
    """

    def __init__(self, namespace: str) -> None:
        from kubernetes import client, config

        try:
            if named := os.environ.get("KUBECONFIG"):
                config.load_kube_config(named)
            else:
                config.load_incluster_config()
        except config.ConfigException as error:
            raise RequestError(f"the step is in no pod of a cluster, and $KUBECONFIG names none: {error}") from None
        self._namespace = namespace
        self._jobs, self._pods = client.CustomObjectsApi(), client.CoreV1Api()

    def get(self, name: str) -> dict[str, Any] | None:
        """Returns a TrainJob; None where there is none."""
        try:
            found: dict[str, Any] = self._asked("get", self._jobs.get_namespaced_custom_object, name)
        except _AbsentError:
            return None
        return found

    def create(self, job: dict[str, Any]) -> None:
        """Makes a TrainJob; without effect if a try whose answer was lost has made it."""
        try:
            self._asked("create", self._jobs.create_namespaced_custom_object, job)
        except _AbsentError:
            raise RequestError(
                "the cluster has no TrainJobs: a training on several machines (targets.kubeflow.steps.train.workers) "
                "needs Kubeflow Trainer 2.2 or newer"
            ) from None
        except _ThereError:
            pass

    def delete(self, name: str) -> None:
        """Deletes a TrainJob and its pods; without effect where there is none."""
        with suppress(_AbsentError):
            self._asked("delete", self._jobs.delete_namespaced_custom_object, name)

    def owners_of_this_pod(self) -> list[dict[str, Any]]:
        """Returns the references to what this pod belongs to: the run's workflow; none where they cannot be read."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            pod = self._pods.read_namespaced_pod(os.environ.get(POD, ""), self._namespace, _request_timeout=_SECONDS)
        except (ApiException, HTTPError, ValueError):
            return []
        owners = pod.metadata.owner_references or []
        return [
            {"apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid}
            for owner in owners
        ]

    def _asked(self, verb: str, ask: Callable[..., Answer], last: Any) -> Answer:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        def once() -> Answer:
            return ask(_GROUP, _VERSION, self._namespace, _PLURAL, last, _request_timeout=_SECONDS)

        def delay(error: Exception) -> float | None:
            if isinstance(error, ApiException):
                return retries.retry_after(error.headers) if error.status in retries.BUSY else None
            return 0.0 if isinstance(error, HTTPError) else None

        try:
            return retries.retried(once, delay)
        except HTTPError as error:
            raise NoAnswerError(masked(f"the cluster does not answer: {error}")) from None
        except ApiException as error:
            raise self._meaning(verb, error) from None

    def _meaning(self, verb: str, error: Any) -> Exception:
        if error.status == 404:
            return _AbsentError()
        if error.status == 409 and verb == "create":
            return _ThereError()
        try:
            said = str(json.loads(error.body)["message"])
        except (ValueError, KeyError, TypeError):
            said = str(error.reason)
        if error.status in retries.BUSY:
            return NoAnswerError(masked(f"the cluster is busy ({error.status}): {said}"))
        if error.status == 403 and "admission webhook" not in said:
            return RequestError(
                masked(
                    f"the step may not {verb} TrainJobs in {self._namespace}: {said}; kubectl apply --kustomize "
                    "infra/kubernetes/kubeflow gives it the right"
                )
            )
        return RequestError(masked(f"the cluster refuses the TrainJob ({error.status}): {said}"))


class _AbsentError(Exception):
    """There is no such object, or no such kind."""


class _ThereError(Exception):
    """There is one of that name."""
