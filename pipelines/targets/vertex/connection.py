"""How Vertex AI is reached: the project, who asks, and what an error of its means for a person."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from components.surroundings import servers
from elboflow.settings import RequestError, Settings, WorkError
from pipelines.targets.config import DefaultCredentials, Impersonation, VertexTarget
from pipelines.targets.patience import retry_after

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LOGIN = "gcloud auth application-default login"


class Connection(Settings):
    """What runs and schedules are asked for with, of `targets.vertex`; it is remembered, and has no secrets."""

    project: str
    location: str
    root: str
    endpoint: str | None = None
    credentials: DefaultCredentials | Impersonation = Field(DefaultCredentials(), discriminator="kind")
    service_account: str | None = None
    network: str | None = None
    encryption_key: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, target: VertexTarget) -> "Connection":
        """Returns the connection that an experiment's `targets.vertex` describes."""
        return cls.model_validate(target.model_dump(include=set(cls.model_fields)))

    @property
    def place(self) -> str:
        """What a person calls it."""
        return f"Vertex AI ({self.project}, {self.location})"

    @property
    def parent(self) -> str:
        """The resource that jobs and schedules are in."""
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def address(self) -> str:
        """The host of the API."""
        return self.endpoint or f"{self.location}-aiplatform.googleapis.com"

    def link(self, job: str) -> str:
        """Returns a job's page in the console."""
        place = f"https://console.cloud.google.com/vertex-ai/locations/{self.location}/pipelines"
        return f"{place}/runs/{job}?project={self.project}"

    def schedule_link(self, schedule: str) -> str:
        """Returns a schedule's page in the console."""
        place = f"https://console.cloud.google.com/vertex-ai/locations/{self.location}/pipelines"
        return f"{place}/schedules/{schedule}?project={self.project}"


def credentials(connection: Connection) -> Any:
    """Returns who asks: Application Default Credentials, as themselves or as a service account that they may act as.

    CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS, which gcloud knows, names another address to act as an account by.

    Raises:
        RequestError: There are no Application Default Credentials.
    """
    servers.watch()
    servers.introduce(f"https://{connection.address}", connection.place)
    import google.auth
    from google.auth import impersonated_credentials
    from google.auth.exceptions import DefaultCredentialsError

    try:
        own, _ = google.auth.default(scopes=[SCOPE], quota_project_id=connection.project)
    except DefaultCredentialsError:
        raise RequestError(
            f"no Application Default Credentials for Google Cloud are here; make some: {LOGIN}"
        ) from None
    if isinstance(connection.credentials, Impersonation):
        account = connection.credentials.service_account
        override = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", "").rstrip("/")
        return impersonated_credentials.Credentials(
            own,
            account,
            target_scopes=[SCOPE],
            iam_endpoint_override=override
            and f"{override}/v1/projects/-/serviceAccounts/{account}:generateAccessToken",
        )
    return own


def passing(error: Exception) -> float | None:
    """Returns for how long Vertex AI asks to be left alone; None for an error that no repetition mends."""
    import requests
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import TransportError

    if isinstance(error, requests.exceptions.SSLError):
        return None
    if isinstance(error, requests.ConnectionError | requests.Timeout | TransportError):
        return 0.0
    if isinstance(error, GoogleAPICallError) and error.code in (408, 429, 500, 502, 503, 504):
        return retry_after(getattr(error.response, "headers", None))
    return None


@contextmanager
def explained(connection: Connection, what: str, reached: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turns the errors of Vertex AI and of the way there into one line that says what to do.

    Args:
        connection: The connection.
        what: What was asked for: "the run digits-…".
        reached: Called where Vertex AI answered.
    """
    import requests
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError, RefreshError

    place = connection.place
    try:
        yield
    except GoogleAPICallError as error:
        raise _told(error, place, connection, what) from error
    except RefreshError as error:
        said = _line(error.args[0] if error.args else error)
        raise RequestError(f"{place}: Google refuses the credentials: {said}; {_remedy(connection)}") from error
    except GoogleAuthError as error:
        raise WorkError(f"{place}: the credentials cannot be had: {_line(error)}") from error
    except requests.RequestException as error:
        raise WorkError(
            f"{place} cannot be reached at {connection.address}: {_line(error)}; look at the network, and at "
            "targets.vertex.location and endpoint"
        ) from error
    reached()


def _remedy(connection: Connection) -> str:
    if isinstance(connection.credentials, Impersonation):
        role = f"the role roles/iam.serviceAccountTokenCreator on {connection.credentials.service_account}"
        return f"the caller needs {role}; or renew who that is: {LOGIN}"
    return f"renew them: {LOGIN}"


def _told(error: Any, place: str, connection: Connection, what: str) -> RequestError | WorkError:
    said = _said(error)
    match error.code:
        case 401:
            return RequestError(f"{place} does not accept the credentials (401): {said}; renew them: {LOGIN}")
        case 403:
            return RequestError(
                f"{place} forbids {what} (403): {said}; the caller needs the role roles/aiplatform.user there"
            )
        case 404:
            return RequestError(
                f"{place} has no {what.removeprefix('the ')} (404): {said}; look at the id, and at "
                "targets.vertex.project and location"
            )
        case 409:
            return RequestError(f"{place}: {what} conflicts with what is there (409): {said}; look, and ask again")
        case 429:
            return WorkError(f"{place} has had too many requests (429): {said}; try later, or raise the quota")
        case code if code is not None and code < 500:
            return RequestError(f"{place} refuses {what} ({code}): {said}")
        case code:
            return WorkError(f"{place} failed at {what} ({code or 'no code'}): {said}; try again later")


def _said(error: Any) -> str:
    """Returns what the platform itself says, without the address that the client puts before it."""
    try:
        return _line(error.response.json()["error"]["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return _line(error.message or error)


def _line(text: object) -> str:
    return str(text).strip().partition("\n")[0].rstrip(".") or "no reason given"
