"""Secrets of a step on Vertex AI: environment variables that name a version of a secret become its value.

    MLFLOW_TRACKING_PASSWORD=secretmanager:projects/PROJECT/secrets/NAME/versions/latest

A compiled pipeline carries the name; the value is in this process and its children only. On Kubernetes the cluster
does that itself, and ELBOFLOW_SECRETS lists which variables are secret.
"""

import os
from typing import TYPE_CHECKING

from components.surroundings import servers
from components.surroundings.masking import hide
from elboflow.settings import RequestError, WorkError
from elboflow.settings.variables import SECRET_MANAGER_ENDPOINT

if TYPE_CHECKING:
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

PREFIX = "secretmanager:"
"""What an environment variable begins with that stands for a secret."""

_SECONDS = 60.0


def reveal() -> None:
    """Replaces the environment variables of this process that name a secret by its value, which logs then hide.

    Raises:
        RequestError: There is no such secret, or this service account may not read it.
        WorkError: Secret Manager cannot be reached, or what it sent is damaged.
    """
    named = {name: value.removeprefix(PREFIX) for name, value in os.environ.items() if value.startswith(PREFIX)}
    if not named:
        return
    client = _client()
    for name, version in named.items():
        value = _read(client, name, version)
        hide(value)
        os.environ[name] = value


def _client() -> "SecretManagerServiceClient":
    servers.watch()
    from google.api_core.client_options import ClientOptions
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

    options = ClientOptions(api_endpoint=os.environ.get(SECRET_MANAGER_ENDPOINT))
    try:
        return SecretManagerServiceClient(transport="rest", client_options=options)
    except DefaultCredentialsError as error:
        raise RequestError(f"no credentials to read secrets with: {error}") from None


def _read(client: "SecretManagerServiceClient", name: str, version: str) -> str:
    from google.api_core.exceptions import BadRequest, Forbidden, GoogleAPIError, NotFound
    from google.api_core.retry import Retry
    from google.auth.exceptions import GoogleAuthError
    from google_crc32c import value as crc32c

    what = f"the secret {version} of the variable {name}"
    try:
        payload = client.access_secret_version(name=version, timeout=_SECONDS, retry=Retry(timeout=_SECONDS)).payload
    except Forbidden:
        raise RequestError(
            f"{what} may not be read by the step's service account; give it the role roles/secretmanager.secretAccessor"
        ) from None
    except (NotFound, BadRequest) as error:
        raise RequestError(f"{what} does not exist: {error.message}") from None
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        raise WorkError(f"{what} cannot be read: {error}") from None
    if payload.data_crc32c and payload.data_crc32c != crc32c(payload.data):
        raise WorkError(f"{what} arrived damaged")
    try:
        text = payload.data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise RequestError(f"{what} holds bytes that are no text; an environment variable cannot hold them")
    return text
