"""How Vertex AI is reached: the project, who asks, and what an error means for a person."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import Field

from components.surroundings import google, servers
from components.surroundings.causes import first_line, short
from elboflow.settings import RequestError, Settings, WorkError
from pipelines.experiment.vertex import DefaultCredentials, Impersonation, VertexTarget
from pipelines.targets.errors import Remedies


class Connection(Settings):
    """The part of `targets.vertex` that requests need; a workspace remembers it. It has no secrets."""

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
    def parent(self) -> str:
        """The resource that jobs and schedules are in."""
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def address(self) -> str:
        """The host of the API."""
        return self.endpoint or f"{self.location}-aiplatform.googleapis.com"

    @property
    def remedies(self) -> Remedies:
        """What to do about errors of Vertex AI."""
        return Remedies(
            f"Vertex AI ({self.project}, {self.location})",
            login=f"renew them: {google.LOGIN}",
            role="the caller needs the role roles/aiplatform.user there",
            lookup="look at the id, and at targets.vertex.project and location",
            address=f"the network, and at targets.vertex.location and endpoint: {self.address}",
            quota="try later, or raise the quota",
        )

    def session(self, seconds: float = google.SECONDS) -> google.Session:
        """Returns a session of Google's APIs; without Application Default Credentials, a RequestError."""
        servers.introduce(f"https://{self.address}", self.remedies.place)
        account = self.credentials.service_account if isinstance(self.credentials, Impersonation) else None
        return google.Session(google.credentials(self.project, account), seconds)

    def link(self, job: str) -> str:
        """Returns a job's page in the console."""
        return self._page(f"runs/{job}")

    def schedule_link(self, schedule: str) -> str:
        """Returns a schedule's page in the console."""
        return self._page(f"schedules/{schedule}")

    def _page(self, resource: str) -> str:
        place = f"https://console.cloud.google.com/vertex-ai/locations/{self.location}/pipelines"
        return f"{place}/{resource}?project={self.project}"


@contextmanager
def explained(
    connection: Connection, remedies: Remedies, what: str, reached: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Turns the errors of an API of Google, and of the network, into one line that says what to do about `what`."""
    import requests
    from google.auth.exceptions import GoogleAuthError, RefreshError

    place = remedies.place
    try:
        yield
    except google.GoogleError as error:
        raise remedies.error(error.status, str(error), what) from error
    except RefreshError as error:
        said = first_line(error.args[0] if error.args else error)
        remedy = remedies.login
        if isinstance(connection.credentials, Impersonation):
            role = f"the role roles/iam.serviceAccountTokenCreator on {connection.credentials.service_account}"
            remedy = f"the caller needs {role}; or renew who that is: {google.LOGIN}"
        raise RequestError(f"{place}: Google refuses the credentials: {said}; {remedy}") from error
    except GoogleAuthError as error:
        raise WorkError(f"{place}: the credentials cannot be had: {first_line(error)}") from error
    except requests.RequestException as error:
        raise remedies.unreachable(short(error)) from error
    reached()
