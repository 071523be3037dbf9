"""How Kubeflow Pipelines is reached: the address, who asks, and what an error means for a person."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import Field

from components.surroundings import retries
from components.surroundings.causes import first_line, said
from elboflow.settings import RequestError, Settings
from pipelines.experiment.kubeflow import Cookie, IdentityAwareProxy, InCluster, KubeflowTarget, NoCredentials, Token
from pipelines.targets.errors import Remedies

OLDEST = "2.14.0"
"""The first Kubeflow Pipelines that gives an exit task the final status of a run; older ones refuse the pipeline."""

FRESH = 3000.0
"""Seconds for which Google's identity token, which lasts an hour, is used, as long as the proxy takes it: they do not
pass while a laptop sleeps."""


@runtime_checkable
class Renewable(Protocol):
    """Credentials that get a new token by themselves."""

    def expire(self) -> None:
        """Lets the next request carry a new token."""


class Connection(Settings):
    """The part of `targets.kubeflow` that requests need; a workspace remembers it. It has no secrets."""

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

    @property
    def remedies(self) -> Remedies:
        """What to do about errors of Kubeflow."""
        return Remedies(
            self.place,
            login=self.login,
            role=f"the caller needs to be a contributor of the namespace {self.namespace}",
            lookup="look at the id, and at targets.kubeflow.host and namespace",
            address="targets.kubeflow.host, and at the port-forward, if there is one",
        )

    def link(self, run: str) -> str | None:
        """Returns a run's page; None where no host is known."""
        return f"{self.host.rstrip('/')}/#/runs/details/{run}" if self.host else None

    def schedule_link(self, recurring_run: str) -> str | None:
        """Returns a recurring run's page; None where no host is known."""
        return f"{self.host.rstrip('/')}/#/recurringrun/details/{recurring_run}" if self.host else None

    @property
    def login(self) -> str:
        """What renews the credentials."""
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


def delay(error: Exception) -> float | None:
    """Returns how long Kubeflow asks to wait before a retry; None for an error that no retry helps."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError, SSLError

    if isinstance(error, SSLError):
        return None
    if isinstance(error, HTTPError):
        return 0.0
    if isinstance(error, ApiException) and error.status in retries.BUSY:
        return retries.retry_after(error.headers)
    return None


@contextmanager
def explained(connection: Connection, what: str, reached: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turns the errors of Kubeflow, and of the network, into one line that says what to do about `what`."""
    from google.auth.exceptions import GoogleAuthError
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    remedies = connection.remedies
    try:
        yield
    except ApiException as error:
        sentence = said(error.body, error.reason or error.body or "")
        if "task final status not supported" in sentence:
            sentence += f" (Kubeflow Pipelines must be {OLDEST} or newer)"
        raise remedies.error(error.status, sentence, what) from error
    except HTTPError as error:
        raise remedies.unreachable(first_line(error)) from error
    except GoogleAuthError as error:
        sentence = f"{connection.place}: Google refuses a token: {first_line(error)}; {connection.login}"
        raise RequestError(sentence) from error
    reached()


def credentials(connection: Connection) -> dict[str, Any]:
    """Returns the arguments of `kfp.Client` that say who asks.

    Raises:
        RequestError: The environment variable that the experiment names is empty, or the pod has no token.
    """
    match connection.credentials:
        case Token(variable=variable):
            return {"existing_token": _value(variable, connection)}
        case Cookie(variable=variable):
            return {"cookies": _value(variable, connection)}
        case IdentityAwareProxy(client_id=client):
            return {"credentials": _identity(client)}
        case InCluster():
            return {"credentials": _of_the_pod(connection)}
    return {}


def _value(variable: str, connection: Connection) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise RequestError(f"targets.kubeflow.credentials: ${variable} is empty; {connection.login}")
    return value


def _of_the_pod(connection: Connection) -> Any:
    from kfp.client import KF_PIPELINES_SA_TOKEN_ENV, KF_PIPELINES_SA_TOKEN_PATH, ServiceAccountTokenVolumeCredentials

    path = os.environ.get(KF_PIPELINES_SA_TOKEN_ENV) or KF_PIPELINES_SA_TOKEN_PATH
    if not Path(path).is_file():
        raise RequestError(
            f"targets.kubeflow.credentials: {path} is not there: in_cluster works in a pod; or name others"
        )
    return ServiceAccountTokenVolumeCredentials(path)


def _identity(client_id: str) -> Any:
    from google.auth.transport.requests import Request
    from google.oauth2 import id_token
    from kfp.client.token_credentials_base import TokenCredentialsBase

    class Identity(TokenCredentialsBase):
        """Google's identity token for the proxy, renewed before it is too old."""

        def __init__(self) -> None:
            self._token, self._until = "", 0.0

        def expire(self) -> None:
            self._until = 0.0

        def refresh_api_key_hook(self, config: Any) -> None:
            if time.monotonic() >= self._until:
                self._token = id_token.fetch_id_token(Request(), client_id)
                self._until = time.monotonic() + FRESH
            config.api_key["authorization"] = self._token

    return Identity()
