"""Kubeflow: who asks, and whether its API answers them; the images of the steps, and their MLflow."""

import os
from functools import partial
from pathlib import Path

from components.surroundings import servers
from elboflow.settings import RequestError, WorkError
from pipelines.doctor import PATIENCE, Check, Finding, data, images, tracking
from pipelines.experiment import Experiment
from pipelines.targets.config import Cookie, IdentityAwareProxy, InCluster, KubeflowTarget, Token


def checks(experiment: Experiment) -> list[Check]:
    """Returns the checks for runs of an experiment on Kubeflow."""
    target = experiment.targets.kubeflow
    if target is None:
        raise RequestError(f"targets.kubeflow: missing; {experiment.name} does not say how to reach Kubeflow")
    anonymous = images.Registry(lambda: None)
    return [
        Check("data", lambda: data.on_platform(experiment, "kubeflow"), seconds=data.seconds(experiment.data)),
        Check("credentials", lambda: credentials(target)),
        Check("Kubeflow", lambda: api(target), seconds=20),
        Check(f"MLflow {target.tracking_uri}", lambda: tracking.server(target.tracking_uri)),
        *(Check(f"image {each}", partial(anonymous.image, each)) for each in images.of(target.image)),
    ]


def credentials(target: KubeflowTarget) -> Finding:
    """Looks whether what says who asks is here."""
    match target.credentials:
        case Token(variable=variable) | Cookie(variable=variable):
            if os.environ.get(variable, "").strip():
                return Finding("credentials", "well", f"${variable} is set")
            return Finding("credentials", "ill", f"${variable} is empty", f"export {variable}=…")
        case IdentityAwareProxy():
            key = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
            if key and Path(key).is_file():
                return Finding("credentials", "well", f"the service account of {key}")
            mend = "export GOOGLE_APPLICATION_CREDENTIALS=KEY.json, of a service account that may pass the proxy"
            return Finding("credentials", "ill", "GOOGLE_APPLICATION_CREDENTIALS names no file", mend)
        case InCluster():
            from kfp.client import KF_PIPELINES_SA_TOKEN_ENV, KF_PIPELINES_SA_TOKEN_PATH

            token = os.environ.get(KF_PIPELINES_SA_TOKEN_ENV) or KF_PIPELINES_SA_TOKEN_PATH
            if Path(token).is_file():
                return Finding("credentials", "well", f"the pod's own, {token}")
            mend = "project a token with the audience pipelines.kubeflow.org into the pod, or name other credentials"
            return Finding("credentials", "ill", f"{token} is not here", mend)
    if target.host is not None:
        return Finding("credentials", "well", f"none are needed to ask {target.host}")
    files = [Path(name) for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    files = files or [Path("~/.kube/config").expanduser()]
    if any(file.is_file() for file in files):
        return Finding("credentials", "well", f"kubeconfig {', '.join(map(str, files))}")
    mend = "give targets.kubeflow.host, or make a kubeconfig (gcloud container clusters get-credentials …)"
    return Finding("credentials", "ill", f"no host is given, and there is no kubeconfig {files[0]}", mend)


def api(target: KubeflowTarget) -> Finding:
    """Looks whether Kubeflow Pipelines answers, and takes the credentials."""
    import requests

    if target.host is None or isinstance(target.credentials, IdentityAwareProxy | InCluster):
        return _of_runs(target)
    what, headers = f"Kubeflow {target.host}", {}
    match target.credentials:
        case Token(variable=variable):
            headers["Authorization"] = f"Bearer {os.environ.get(variable, '').strip()}"
        case Cookie(variable=variable):
            headers["Cookie"] = os.environ.get(variable, "").strip()
    try:
        place = f"{target.host.rstrip('/')}/apis/v2beta1/runs"
        query = {"page_size": "1", "namespace": target.namespace}
        answer = requests.get(place, query, headers=headers, timeout=PATIENCE, allow_redirects=False)
        if answer.status_code == 400:  # a Kubeflow of one user takes no namespace
            answer = requests.get(place, {"page_size": "1"}, headers=headers, timeout=PATIENCE, allow_redirects=False)
    except (requests.RequestException, servers.NoAnswerError) as error:
        mend = "look at targets.kubeflow.host, and at the port-forward, if there is one"
        return Finding(what, "ill", f"cannot be reached from here: {servers.short(error)}", mend)
    match answer.status_code:
        case 200 if "json" in answer.headers.get("Content-Type", ""):
            return Finding(what, "well", f"answers; runs in {target.namespace} can be listed")
        case 301 | 302 | 303 | 307 | 308 | 401:
            mend = "renew the token or the cookie, or choose other targets.kubeflow.credentials"
            return Finding(what, "ill", f"asks for a login ({answer.status_code})", mend)
        case 403:
            mend = f"become a contributor of the namespace {target.namespace}, or name your own"
            return Finding(what, "ill", f"forbids the namespace {target.namespace} (403)", mend)
    return Finding(what, "ill", f"is no Kubeflow Pipelines: it answers {answer.status_code}", "look at the address")


def _of_runs(target: KubeflowTarget) -> Finding:
    """Asks with the client of runs, which follows a kubeconfig and gets tokens of every kind."""
    from pipelines.targets.kubeflow.api import API
    from pipelines.targets.kubeflow.connection import Connection

    what = f"Kubeflow {target.host}" if target.host else "Kubeflow"
    if credentials(target).state == "ill":
        return Finding(what, "unknown", "there is nothing to ask it with", "mend the credentials first")
    platform = API(Connection.of(target))
    try:
        with platform.asking(f"the namespace {target.namespace}"):
            platform.client.list_runs(page_size=1)
    except (RequestError, WorkError) as error:
        found, _, mend = str(error).rpartition("; ")
        return Finding(what, "ill", found or mend, mend if found else "look at targets.kubeflow")
    return Finding(what, "well", f"answers; runs in {target.namespace} can be listed")
