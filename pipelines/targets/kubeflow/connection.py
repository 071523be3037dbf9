"""How Kubeflow Pipelines is reached: the address, who asks, and what an error of its means for a person."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from elboflow.settings import RequestError, Settings, WorkError
from pipelines.targets.config import (
    Cookie,
    IdentityAwareProxy,
    InCluster,
    KubeflowTarget,
    NoCredentials,
    Token,
)
from pipelines.targets.patience import retry_after


class Connection(Settings):
    """What runs and schedules are asked for with, of `targets.kubeflow`; it is remembered, and has no secrets."""

    host: str | None = None
    namespace: str = "kubeflow"
    credentials: NoCredentials | Token | Cookie | IdentityAwareProxy | InCluster = Field(
        NoCredentials(), discriminator="kind"
    )
    service_account: str | None = None
    timezone: str = "UTC"

    @classmethod
    def of(cls, target: KubeflowTarget) -> "Connection":
        """Returns the connection that an experiment's `targets.kubeflow` describes."""
        return cls.model_validate(target.model_dump(include=set(cls.model_fields)))

    @property
    def place(self) -> str:
        """What a person calls it."""
        return f"Kubeflow at {self.host}" if self.host else f"the Kubeflow of namespace {self.namespace}"

    def link(self, run: str) -> str | None:
        """Returns a run's page; None where no host is known."""
        return f"{self.host.rstrip('/')}/#/runs/details/{run}" if self.host else None

    def schedule_link(self, recurring_run: str) -> str | None:
        """Returns a recurring run's page; None where no host is known."""
        return f"{self.host.rstrip('/')}/#/recurringrun/details/{recurring_run}" if self.host else None

    def remedy(self) -> str:
        """Returns what makes credentials good again."""
        match self.credentials:
            case Token(variable=variable):
                return f"put a current token into ${variable}"
            case Cookie(variable=variable):
                return f"log in, and put the session cookie, as NAME=VALUE, into ${variable}"
            case IdentityAwareProxy(client_id=client):
                return f"make sure that the account of GOOGLE_APPLICATION_CREDENTIALS may pass the proxy of {client}"
            case InCluster():
                return "give the pod a service account with access, and a projected token"
        return "choose targets.kubeflow.credentials: token, cookie, iap or in_cluster"


def passing(error: Exception) -> float | None:
    """Returns for how long Kubeflow asks to be left alone; None for an error that no repetition mends."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError, SSLError

    if isinstance(error, SSLError):
        return None
    if isinstance(error, HTTPError):
        return 0.0
    if isinstance(error, ApiException) and error.status in (408, 429, 500, 502, 503, 504):
        return retry_after(error.headers)
    return None


@contextmanager
def explained(connection: Connection, what: str, reached: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turns the errors of Kubeflow and of the way there into one line that says what to do.

    Args:
        connection: The connection.
        what: What was asked for: "the run 2f1c…".
        reached: Called where Kubeflow answered.
    """
    from google.auth.exceptions import GoogleAuthError
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise _told(error, connection, what) from error
    except HTTPError as error:
        raise WorkError(
            f"{connection.place} cannot be reached: {_line(error)}; look at targets.kubeflow.host, and at the "
            "port-forward, if there is one"
        ) from error
    except GoogleAuthError as error:
        raise RequestError(
            f"{connection.place}: Google refuses a token: {_line(error)}; {connection.remedy()}"
        ) from error
    reached()


def _told(error: Any, connection: Connection, what: str) -> RequestError | WorkError:
    place, said = connection.place, _said(error)
    match error.status:
        case 301 | 302 | 303 | 307 | 308:
            return RequestError(f"{place} asks for a login ({error.status}); {connection.remedy()}")
        case 401:
            return RequestError(f"{place} does not accept the credentials (401): {said}; {connection.remedy()}")
        case 403:
            return RequestError(
                f"{place} forbids {what} (403): {said}; the caller needs to be a contributor of the namespace "
                f"{connection.namespace}"
            )
        case 404:
            return RequestError(
                f"{place} has no {what.removeprefix('the ')} (404): {said}; look at the id, and at "
                "targets.kubeflow.host and namespace"
            )
        case 409:
            return RequestError(f"{place}: {what} conflicts with what is there (409): {said}; look, and ask again")
        case 429:
            return WorkError(f"{place} has had too many requests (429): {said}; try again later")
        case status if status is not None and 400 <= status < 500:
            return RequestError(f"{place} refuses {what} ({status}): {said}")
        case status:
            return WorkError(f"{place} failed at {what} ({status or 'no code'}): {said}; try again later")


def _said(error: Any) -> str:
    """Returns what Kubeflow itself says, without the headers that the client puts before it."""
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body
    try:
        answer = json.loads(body or "")
        return _line(answer.get("message") or answer.get("error") or error.reason)
    except (ValueError, AttributeError):
        return _line(error.reason or body or "")


def _line(text: object) -> str:
    return str(text).strip().partition("\n")[0].rstrip(".") or "no reason given"
