"""The checks of runs on Vertex AI: credentials, enabled APIs, the bucket, images, the quota of accelerators, MLflow."""

from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any
from urllib.parse import quote

from components.surroundings import google, servers
from elboflow.settings import RequestError
from pipelines.experiment import Experiment
from pipelines.experiment.machines import VertexStep
from pipelines.experiment.vertex import VertexTarget
from pipelines.targets.checks import (
    SECONDS,
    Check,
    Finding,
    UnknownError,
    data_check,
    image_checks,
    images_named,
    server_check,
)
from pipelines.targets.vertex.connection import Connection
from preprocessing.engines.dataflow import Dataflow

SERVICE = "aiplatform.googleapis.com"
NEEDED = ("storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list")
"""What a pipeline does with the objects of its bucket."""


def checks(experiment: Experiment) -> list[Check]:
    """Returns the checks for runs of an experiment on Vertex AI."""
    target = experiment.targets.vertex
    if target is None:
        raise RequestError(f"targets.vertex: missing; {experiment.name} does not say how to reach Vertex AI")
    project = Project(Connection.of(target))
    images = images_named(target.image)
    if isinstance(target.runner, Dataflow) and target.runner.image:
        images = list(dict.fromkeys([*images, target.runner.image]))
    return [
        data_check(experiment, "vertex"),
        Check("credentials", project.credentials),
        Check("APIs", lambda: apis(project, target)),
        Check("bucket", lambda: bucket(project, target)),
        *image_checks(images, project.token),
        *quotas(project, target),
        server_check(target.tracking_uri),
    ]


class Project:
    """A project of Google Cloud, asked without retries: a check has a few seconds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @cached_property
    def _session(self) -> google.Session:
        return self._connection.session(SECONDS)

    def credentials(self) -> Finding:
        """Checks that there are credentials, and that Google takes them."""
        from google.auth.exceptions import GoogleAuthError

        try:
            self._session.token()
        except RequestError as error:
            return Finding("credentials", "problem", str(error).partition(";")[0], google.LOGIN)
        except (GoogleAuthError, servers.NoAnswerError) as error:
            found = f"Google does not take them: {servers.short(error)}"
            return Finding("credentials", "problem", found, f"renew them: {google.LOGIN}")
        account = (self._session.member() or ":a person's, or nobody's").partition(":")[2]
        return Finding("credentials", "ok", f"Application Default Credentials: {account}")

    def member(self) -> str:
        """Returns the caller as IAM policies name it, or an expression of the shell that does."""
        return self._session.member() or '"user:$(gcloud config get account)"'

    def token(self) -> str | None:
        """Returns the caller's token; None where the check of the credentials says what is wrong with them."""
        try:
            return self._session.token()
        except Exception:
            return None

    def ask(self, api: str, path: str, remedy: str, query: list[tuple[str, str]] | None = None) -> Any:
        """Returns the JSON that an API answers a GET request with.

        Raises:
            UnknownError: It did not answer, or with an error, which is the cause then.
        """
        import requests
        from google.auth.exceptions import GoogleAuthError

        try:
            return self._session.request("GET", f"{google.address(api)}{path}", params=query).json()
        except (RequestError, GoogleAuthError):
            raise UnknownError("there are no credentials to ask with", remedy) from None
        except google.GoogleError as error:
            raise UnknownError(f"{api} answers {error.status}: {error}", remedy) from error
        except (requests.RequestException, servers.NoAnswerError) as error:
            found = f"{google.address(api)} cannot be reached from here: {servers.short(error)}"
            raise UnknownError(found, remedy) from None


def apis(project: Project, target: VertexTarget) -> Iterator[Finding]:
    """Looks whether the APIs that runs of a target use are enabled in its project."""
    wanted = {"aiplatform", "logging", "storage"}
    if target.repository or any(".pkg.dev/" in image for image in images_named(target.image)):
        wanted.add("artifactregistry")
    if target.runner.kind == "dataflow":
        wanted |= {"compute", "dataflow"}
    if target.secrets:
        wanted.add("secretmanager")
    if target.encryption_key:
        wanted.add("cloudkms")
    parent = f"projects/{target.project}"
    names = [("names", f"{parent}/services/{api}.googleapis.com") for api in sorted(wanted)]
    remedy = f"gcloud services list --enabled --project {target.project}, with an account that may list them"
    answer = project.ask("serviceusage", f"/v1/{parent}/services:batchGet", remedy, names)
    enabled = {each["config"]["name"] for each in answer.get("services", []) if each.get("state") == "ENABLED"}
    absent = [name for api in sorted(wanted) if (name := f"{api}.googleapis.com") not in enabled]
    for name in absent:
        enable = f"gcloud services enable {name} --project {target.project}"
        yield Finding(f"API {name}", "problem", "is not enabled", enable)
    if not absent:
        yield Finding("APIs", "ok", f"enabled: {', '.join(sorted(wanted))}")


def bucket(project: Project, target: VertexTarget) -> Finding:
    """Looks whether the caller may do with the bucket what a pipeline does."""
    name = target.root.removeprefix("gs://").partition("/")[0]
    what = f"bucket gs://{name}"
    remedy = f"ask for roles/storage.objectUser on gs://{name}, for yourself and for the steps"
    try:
        query = [("permissions", permission) for permission in NEEDED]
        answer = project.ask("storage", f"/storage/v1/b/{quote(name)}/iam/testPermissions", remedy, query)
    except UnknownError as error:
        status = getattr(error.__cause__, "status", None)
        if status == 404:
            remedy = (
                f"gcloud storage buckets create gs://{name} --location {target.location} --project {target.project}"
            )
            return Finding(what, "problem", "is not there", remedy)
        return Finding(what, "problem" if status == 403 else "unknown", str(error), remedy)
    absent = [permission for permission in NEEDED if permission not in answer.get("permissions", [])]
    if absent:
        remedy = (
            f"gcloud storage buckets add-iam-policy-binding gs://{name} --role roles/storage.objectUser "
            f"--member {project.member()}"
        )
        return Finding(what, "problem", f"you lack {', '.join(absent)}", remedy)
    return Finding(what, "ok", "can be read and written by you; the steps' own account cannot be tried from here")


def quotas(project: Project, target: VertexTarget) -> list[Check]:
    """Returns a check of each step with accelerators: whether the region's quota covers them, used or not."""
    found = []
    for name, step in target.steps.items():
        if step.accelerator is None or step.offer is None:
            continue
        needed = step.offer.chips * step.machines
        what = f"quota for {name}: {needed} {step.accelerator.kind} in {target.location}"
        found.append(Check(what, partial(_quota, what, needed, project, target, step)))
    return found or [Check("quota", lambda: Finding("quota", "ok", "no step asks for an accelerator"))]


def _quota(what: str, needed: int, project: Project, target: VertexTarget, step: VertexStep) -> Finding:
    assert step.accelerator is not None
    page = f"https://console.cloud.google.com/iam-admin/quotas?project={target.project}"
    metric = step.accelerator.of_kind.quota
    if metric is None:
        return Finding(what, "unknown", "the name of its metric is not known here", f"look at {page}")
    if step.provisioning != "standard":  # spot machines, and those that start flexibly
        metric = metric.replace("training_", "training_preemptible_")
    path = f"/v1beta1/projects/{target.project}/services/{SERVICE}/consumerQuotaMetrics/"
    answer = project.ask("serviceusage", path + quote(f"{SERVICE}/{metric}", safe=""), f"look for {metric} at {page}")
    limit = _limit(answer, target.location)
    if limit is None:
        return Finding(what, "unknown", f"{metric} has no limit for {target.location}", f"look at {page}")
    if 0 <= limit < needed:
        return Finding(what, "problem", f"{metric} is {limit}", f"ask for {needed} or more: {page}")
    return Finding(what, "ok", "unlimited" if limit < 0 else f"{metric} is {limit}")


def _limit(metric: dict[str, Any], location: str) -> int | None:
    """Returns the effective limit in a region: that of its own bucket, or of the one without dimensions; -1 is none."""
    limits: dict[str | None, int] = {}
    for each in metric.get("consumerQuotaLimits", []):
        for bucket in each.get("quotaBuckets", []):
            limits[bucket.get("dimensions", {}).get("region")] = int(bucket.get("effectiveLimit", 0))
    return limits.get(location, limits.get(None))
