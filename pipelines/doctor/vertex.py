"""Vertex AI: who asks, which APIs are enabled, the bucket, the images, the quota of the accelerators, MLflow."""

from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

from elboflow.settings import RequestError
from pipelines.doctor import Check, Finding, data, images, tracking
from pipelines.doctor.google import Cloud, RefusedError
from pipelines.experiment import Experiment
from pipelines.targets.accelerators import Offer
from pipelines.targets.config import VertexTarget
from pipelines.targets.machines import Accelerator, VertexStep
from pipelines.targets.vertex.connection import Connection
from preprocessing.engines.dataflow import Dataflow

NEEDED = ("storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list")
"""What a pipeline does with the objects of its bucket."""


def checks(experiment: Experiment) -> list[Check]:
    """Returns the checks for runs of an experiment on Vertex AI."""
    target = experiment.targets.vertex
    if target is None:
        raise RequestError(f"targets.vertex: missing; {experiment.name} does not say how to reach Vertex AI")
    cloud = Cloud(Connection.of(target))
    registry = images.Registry(lambda: _token(cloud))
    named = images.of(target.image)
    if isinstance(target.runner, Dataflow) and target.runner.image:
        named = list(dict.fromkeys([*named, target.runner.image]))
    return [
        Check("data", lambda: data.on_platform(experiment, "vertex"), seconds=data.seconds(experiment.data)),
        Check("credentials", cloud.who),
        Check("APIs", lambda: apis(cloud, target)),
        Check("bucket", lambda: bucket(cloud, target)),
        *(Check(f"image {image}", partial(registry.image, image)) for image in named),
        Check("quota", lambda: quotas(cloud, target)),
        Check(f"MLflow {target.tracking_uri}", lambda: tracking.server(target.tracking_uri)),
    ]


def apis(cloud: Cloud, target: VertexTarget) -> Iterator[Finding]:
    """Looks whether the APIs that runs of a target use are enabled in its project."""
    wanted = {"aiplatform", "logging", "storage"}
    if target.repository or any(".pkg.dev/" in image for image in images.of(target.image)):
        wanted.add("artifactregistry")
    if target.runner.kind == "dataflow":
        wanted |= {"compute", "dataflow"}
    if target.secrets:
        wanted.add("secretmanager")
    if target.encryption_key:
        wanted.add("cloudkms")
    parent = f"projects/{target.project}"
    names = [("names", f"{parent}/services/{api}.googleapis.com") for api in sorted(wanted)]
    try:
        answer = cloud.ask("serviceusage", f"/v1/{parent}/services:batchGet", names)
    except RefusedError as refused:
        mend = f"gcloud services list --enabled --project {target.project}, with an account that may list them"
        yield Finding("APIs", "unknown", str(refused), mend)
        return
    enabled = {each["config"]["name"] for each in answer.get("services", []) if each.get("state") == "ENABLED"}
    absent = [name for api in sorted(wanted) if (name := f"{api}.googleapis.com") not in enabled]
    for name in absent:
        mend = f"gcloud services enable {name} --project {target.project}"
        yield Finding(f"API {name}", "ill", "is not enabled", mend)
    if not absent:
        yield Finding("APIs", "well", f"enabled: {', '.join(sorted(wanted))}")


def bucket(cloud: Cloud, target: VertexTarget) -> Finding:
    """Looks whether the caller may do with the bucket what a pipeline does."""
    name = target.root.removeprefix("gs://").partition("/")[0]
    what = f"bucket gs://{name}"
    try:
        query = [("permissions", permission) for permission in NEEDED]
        answer = cloud.ask("storage", f"/storage/v1/b/{quote(name)}/iam/testPermissions", query)
    except RefusedError as refused:
        if " answers 404" in str(refused):
            mend = f"gcloud storage buckets create gs://{name} --location {target.location} --project {target.project}"
            return Finding(what, "ill", "is not there", mend)
        mend = f"ask for roles/storage.objectUser on gs://{name}, for yourself and for the steps"
        return Finding(what, "ill" if " answers 403" in str(refused) else "unknown", str(refused), mend)
    absent = [permission for permission in NEEDED if permission not in answer.get("permissions", [])]
    if absent:
        mend = (
            f"gcloud storage buckets add-iam-policy-binding gs://{name} --role roles/storage.objectUser "
            f"--member {cloud.member()}"
        )
        return Finding(what, "ill", f"you lack {', '.join(absent)}", mend)
    return Finding(what, "well", "can be read and written by you; the steps' own account cannot be tried from here")


def quotas(cloud: Cloud, target: VertexTarget) -> Iterator[Finding]:
    """Looks whether the quota of the region covers the accelerators of each step. What is in use is not looked at."""
    if not any(step.accelerator for step in target.steps.values()):
        yield Finding("quota", "well", "no step asks for an accelerator")
    for name, step in target.steps.items():
        if step.accelerator is not None and step.offer is not None:
            yield _quota(cloud, target, name, step, step.accelerator, step.offer)


def _quota(
    cloud: Cloud, target: VertexTarget, name: str, step: VertexStep, accelerator: Accelerator, offer: Offer
) -> Finding:
    needed, kind = offer.chips * step.machines, accelerator.of_kind
    what = f"quota for {name}: {needed} {accelerator.kind} in {target.location}"
    page = f"https://console.cloud.google.com/iam-admin/quotas?project={target.project}"
    if kind.quota is None:
        return Finding(what, "unknown", "the name of its metric is not known here", f"look at {page}")
    # Spot machines, and those that start flexibly, count against the quota of pre-emptible ones.
    metric = kind.quota if step.provisioning == "standard" else kind.quota.replace("training_", "training_preemptible_")
    service = "aiplatform.googleapis.com"
    path = f"/v1beta1/projects/{target.project}/services/{service}/consumerQuotaMetrics/"
    try:
        answer = cloud.ask("serviceusage", path + quote(f"{service}/{metric}", safe=""))
    except RefusedError as refused:
        return Finding(what, "unknown", str(refused), f"look for {metric} at {page}")
    limit = _limit(answer, target.location)
    if limit is None:
        return Finding(what, "unknown", f"{metric} has no limit for {target.location}", f"look at {page}")
    if 0 <= limit < needed:
        return Finding(what, "ill", f"{metric} is {limit}", f"ask for {needed} or more: {page}")
    return Finding(what, "well", "unlimited" if limit < 0 else f"{metric} is {limit}")


def _limit(metric: dict[str, Any], location: str) -> int | None:
    """Returns the effective limit in a region: that of its own bucket, or of the one without dimensions; -1 is none."""
    limits: dict[str | None, int] = {}
    for each in metric.get("consumerQuotaLimits", []):
        for bucket in each.get("quotaBuckets", []):
            limits[bucket.get("dimensions", {}).get("region")] = int(bucket.get("effectiveLimit", 0))
    return limits.get(location, limits.get(None))


def _token(cloud: Cloud) -> str | None:
    try:
        return cloud.token()
    except Exception:  # the check of the credentials says what is wrong with them
        return None
