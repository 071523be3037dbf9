"""Secrets of a step on Vertex AI: an environment variable that names a version of a secret gets its value.

    MLFLOW_TRACKING_PASSWORD=secretmanager:projects/PROJECT/secrets/NAME/versions/latest

A compiled pipeline carries the name; the value is in this process and its children only. On Kubernetes the cluster
does that itself, and ELBOFLOW_SECRETS lists which variables are secret.
"""

import base64
import os

from components.surroundings import google, servers
from components.surroundings.masking import hide
from elboflow.settings import RequestError, WorkError
from elboflow.settings.variables import SECRET_MANAGER_ENDPOINT

PREFIX = "secretmanager:"
"""What an environment variable begins with that stands for a secret."""


def reveal() -> None:
    """Replaces the environment variables of this process that name a secret by its value, which logs then hide.

    Raises:
        RequestError: There is no such secret, or this service account may not read it.
        WorkError: Secret Manager cannot be reached, or what it sent is damaged.
    """
    named = {name: value.removeprefix(PREFIX) for name, value in os.environ.items() if value.startswith(PREFIX)}
    if not named:
        return
    try:
        session = google.Session(google.credentials())
    except RequestError as error:
        raise RequestError(f"no credentials to read secrets with: {error}") from None
    for name, version in named.items():
        value = _read(session, name, version)
        hide(value)
        os.environ[name] = value


def _read(session: google.Session, name: str, version: str) -> str:
    import requests
    from google.auth.exceptions import GoogleAuthError
    from google_crc32c import value as crc32c

    what = f"the secret {version} of the variable {name}"
    host = os.environ.get(SECRET_MANAGER_ENDPOINT) or "secretmanager.googleapis.com"
    try:
        payload = session.get(f"https://{host}/v1/{version}:access")["payload"]
        data = base64.b64decode(payload.get("data", ""))
    except google.GoogleError as error:
        if error.status == 403:
            role = "give it the role roles/secretmanager.secretAccessor"
            raise RequestError(f"{what} may not be read by the step's service account; {role}") from None
        if error.status in (400, 404):
            raise RequestError(f"{what} does not exist: {error}") from None
        raise WorkError(f"{what} cannot be read: {error} ({error.status})") from None
    except (GoogleAuthError, requests.RequestException, servers.NoAnswerError, KeyError, ValueError) as error:
        raise WorkError(f"{what} cannot be read: {error}") from None
    if int(payload.get("dataCrc32c", crc32c(data))) != crc32c(data):
        raise WorkError(f"{what} arrived damaged")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise RequestError(f"{what} holds bytes that are no text; an environment variable cannot hold them")
    return text
