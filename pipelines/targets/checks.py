"""What must be so before a run, for `elboflow doctor`: each target has a function `checks`; here is what they share."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, Literal

from components.registry import webhooks
from components.surroundings import servers
from components.surroundings.masking import masked
from components.tracking import preflight
from elboflow.settings import RequestError, WorkError
from pipelines.experiment import Experiment
from pipelines.experiment.steps import Images
from pipelines.targets.data import require_readable
from preprocessing.buckets import PATIENCE
from preprocessing.config import DataConfig
from preprocessing.files import is_uri

SECONDS = 4.0
"""For a request of a check."""

State = Literal["ok", "problem", "unknown"]


@dataclass(frozen=True)
class Finding:
    """What a check found: a `problem` has to be solved before a run, as `remedy` says; `unknown` cannot be checked."""

    what: str
    state: State
    found: str
    remedy: str = ""


class UnknownError(Exception):
    """A check cannot find out what it should; the text says why, and `remedy` how a person can."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.remedy = remedy


@dataclass(frozen=True)
class Check:
    """What to check: `look` returns findings, or raises `UnknownError`, within some seconds."""

    what: str
    look: Callable[[], Finding | Iterable[Finding]]
    seconds: float = 5.0


def data_check(experiment: Experiment, target: Literal["local", "kubeflow", "vertex"]) -> Check:
    """Returns the check of an experiment's data; a bucket may take longer than a file."""
    remote = any(is_uri(place) for place in experiment.data.source.locations.values())
    seconds = 3 * PATIENCE / 2 if remote else 15.0
    if target == "local":
        return Check("data", lambda: data(experiment.data_of_date), seconds)
    return Check("data", lambda: on_platform(experiment, target), seconds)


def data(config: DataConfig) -> Finding:
    """Reads the headers of the source, and its first examples."""
    from preprocessing.first_look import first_look  # it imports Beam

    try:
        seen = first_look(config)
    except (RequestError, WorkError) as error:
        return Finding("data", "problem", str(error), "see the message; nothing can be preprocessed before")
    if seen.doubts:
        return Finding("data", "unknown", seen.found, "; ".join(seen.doubts))
    return Finding("data", "ok", seen.found)


def on_platform(experiment: Experiment, target: Literal["kubeflow", "vertex"]) -> Finding:
    """Checks that the steps of a platform can read the source, and the source itself where this machine can read it."""
    try:
        require_readable(experiment, target)
    except RequestError as error:
        return Finding("data", "problem", str(error), "write another location, or give the steps a way to this one")
    mounted = [place for place in experiment.data.source.locations.values() if not is_uri(place)]
    if mounted:
        found = f"{', '.join(mounted)}: a place that the steps see, and this machine does not"
        return Finding("data", "unknown", found, "look there by hand")
    return data(experiment.data_of_date)


def server_check(uri: str) -> Check:
    """Returns the check of a server."""
    return Check(f"MLflow {masked(uri)}", lambda: [server(uri), *_webhooks(uri)])


def _webhooks(uri: str) -> Iterator[Finding]:
    """Says which webhooks of a server's registry a registration makes fire; nothing where the server does not tell."""
    import requests

    try:
        found = webhooks.of_server(uri, SECONDS)
    except (requests.RequestException, servers.NoAnswerError):
        return  # as the check of the server says
    if found is not None:
        yield Finding("webhooks", "ok", "; ".join(each.outlook for each in found) or "the registry has none")


def server(uri: str) -> Finding:
    """Asks an MLflow server for its version."""
    import requests

    what, ours = f"MLflow {masked(uri)}", version("mlflow")
    try:
        answer = preflight.version_of(uri, SECONDS)
    except (requests.RequestException, servers.NoAnswerError) as error:
        remedy = "look at the address, and at the network between; the steps must reach it, too"
        return Finding(what, "problem", f"cannot be reached from here: {servers.short(error)}", remedy)
    if answer.status_code in (401, 403):
        remedy = "set MLFLOW_TRACKING_USERNAME and _PASSWORD, or MLFLOW_TRACKING_TOKEN; give them to steps as `secrets`"
        return Finding(what, "problem", f"refuses the credentials ({answer.status_code})", remedy)
    theirs = answer.text.strip()
    if answer.status_code != 200 or not theirs[:1].isdigit() or len(theirs) > 40:
        return Finding(what, "problem", f"is no MLflow: it answers {answer.status_code}", "look at the address")
    if theirs.split(".")[0] != ours.split(".")[0]:
        remedy = f"serve MLflow {ours.split('.')[0]}, or install `mlflow=={theirs}` here and in the images"
        return Finding(what, "problem", f"is {theirs}; the client here is {ours}", remedy)
    if refused := preflight.workspace_refused(uri, SECONDS):
        return Finding(what, "problem", refused, "make it there, or name another; leave it out for the default one")
    return Finding(what, "ok", f"answers; {theirs}, the client here {ours}")


_KINDS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)
_GOOGLE = re.compile(r"[a-z0-9-]+-docker\.pkg\.dev|([a-z0-9-]+\.)?gcr\.io")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def images_named(image: str | Images) -> list[str]:
    """Returns the images that a target names, each once."""
    given = [image] if isinstance(image, str) else [image.cpu, image.cuda, image.tpu]
    return list(dict.fromkeys(name for name in given if name is not None))


def image_checks(images: Iterable[str], token: Callable[[], str | None] = lambda: None) -> list[Check]:
    """Returns a check of each image; Google's registries are asked with the token, others anonymously."""
    return [Check(f"image {image}", partial(is_there, image, token)) for image in images]


def parsed(image: str) -> tuple[str, str, str]:
    """Returns the registry, the repository and the tag or digest that an image's address means."""
    first, slash, rest = image.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    registry, name = (first, rest) if is_host else ("registry-1.docker.io", image)
    name, at, digest = name.partition("@")
    repository, _, tag = name.partition(":")
    if not is_host and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository, digest if at else tag or "latest"


def is_there(image: str, token: Callable[[], str | None] = lambda: None) -> Finding:
    """Asks an image's registry for it, as container engines do (OCI distribution 2)."""
    import requests

    what, (registry, repository, reference) = f"image {image}", parsed(image)
    scheme = "http" if re.fullmatch(r"(localhost|127\.0\.0\.1)(:\d+)?", registry) else "https"
    address = f"{scheme}://{registry}/v2/{repository}/manifests/{reference}"
    try:
        answer = _asked(address, registry, token)
    except (requests.RequestException, servers.NoAnswerError) as error:
        remedy = f"look at the address; whether the platform reaches {registry} cannot be told from here"
        return Finding(what, "unknown", f"{registry} cannot be reached from here: {servers.short(error)}", remedy)
    match answer.status_code:
        case 200:
            return Finding(what, "ok", f"is there: {answer.headers.get('Docker-Content-Digest', reference)}")
        case 404:
            remedy = "build and push it: infra/images/build.sh; or correct `image` of the target"
            return Finding(what, "problem", f"{registry} has no such image (404)", remedy)
        case 401 | 403 if _GOOGLE.fullmatch(registry):
            remedy = "ask for roles/artifactregistry.reader on the repository, for yourself and for the steps"
            return Finding(what, "problem", f"{registry} refuses the credentials ({answer.status_code})", remedy)
        case 401 | 403:
            remedy = "the cluster needs a pull secret for it: targets.kubeflow.pull_secrets"
            return Finding(what, "unknown", f"{registry} shows it to those who log in ({answer.status_code})", remedy)
    return Finding(what, "unknown", f"{registry} answers {answer.status_code}", "try again later")


def _asked(address: str, registry: str, token: Callable[[], str | None]) -> Any:
    import requests

    headers = {"Accept": _KINDS}
    if _GOOGLE.fullmatch(registry) and (own := token()):
        headers["Authorization"] = f"Bearer {own}"
    answer = requests.head(address, headers=headers, timeout=SECONDS)
    challenge = answer.headers.get("WWW-Authenticate", "")
    if answer.status_code != 401 or "Authorization" in headers or not challenge.startswith("Bearer "):
        return answer
    wanted = dict(_CHALLENGE.findall(challenge))
    if "realm" not in wanted:
        return answer
    given = requests.get(wanted.pop("realm"), wanted, timeout=SECONDS)
    if given.status_code != 200:
        return answer
    public = given.json().get("token") or given.json().get("access_token")
    return requests.head(address, headers={**headers, "Authorization": f"Bearer {public}"}, timeout=SECONDS)
