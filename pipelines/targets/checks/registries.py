"""Container images: whether their registries have them, asked as container engines do (OCI distribution 2)."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from components.surroundings import servers
from pipelines.experiment.images import Images
from pipelines.targets.checks import SECONDS, Check, Finding

_KINDS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)
_GOOGLE = re.compile(r"[a-z0-9-]+-docker\.pkg\.dev|([a-z0-9-]+\.)?gcr\.io")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def named(image: str | Images) -> list[str]:
    """Returns the images that a target names, each once."""
    given = [image] if isinstance(image, str) else [image.cpu, image.cuda, image.tpu]
    return list(dict.fromkeys(name for name in given if name is not None))


def checks(images: Iterable[str], token: Callable[[], str | None] = lambda: None) -> list[Check]:
    """Returns a check of each image.

    Args:
        images: Their addresses.
        token: Returns the token for Google's registries; others are asked anonymously.
    """
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
    """Asks an image's registry for it."""
    import requests

    what, (registry, repository, reference) = f"image {image}", parsed(image)
    scheme = "http" if re.fullmatch(r"(localhost|127\.0\.0\.1)(:\d+)?", registry) else "https"
    address = f"{scheme}://{registry}/v2/{repository}/manifests/{reference}"
    try:
        answer = _asked(address, registry, token)
    except (requests.RequestException, servers.NoAnswerError) as error:
        mend = f"look at the address; whether the platform reaches {registry} cannot be told from here"
        return Finding(what, "unknown", f"{registry} cannot be reached from here: {servers.short(error)}", mend)
    match answer.status_code:
        case 200:
            return Finding(what, "well", f"is there: {answer.headers.get('Docker-Content-Digest', reference)}")
        case 404:
            mend = "build and push it: infra/images/build.sh; or correct `image` of the target"
            return Finding(what, "ill", f"{registry} has no such image (404)", mend)
        case 401 | 403 if _GOOGLE.fullmatch(registry):
            mend = "ask for roles/artifactregistry.reader on the repository, for yourself and for the steps"
            return Finding(what, "ill", f"{registry} refuses the credentials ({answer.status_code})", mend)
        case 401 | 403:
            mend = "the cluster needs a pull secret for it: targets.kubeflow.pull_secrets"
            return Finding(what, "unknown", f"{registry} shows it to those who log in ({answer.status_code})", mend)
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
