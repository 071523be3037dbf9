"""Who asks Kubeflow: the arguments of `kfp.Client` for each kind of credentials."""

import os
import time
from pathlib import Path
from typing import Any

from elboflow.settings import RequestError
from pipelines.experiment.kubeflow import Cookie, IdentityAwareProxy, InCluster, Token
from pipelines.targets.kubeflow.connection import Connection

FRESH = 3000.0
"""Seconds for which Google's identity token, which lasts an hour, is used."""


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

        def refresh_api_key_hook(self, config: Any) -> None:
            if time.monotonic() >= self._until:
                self._token = id_token.fetch_id_token(Request(), client_id)
                self._until = time.monotonic() + FRESH
            config.api_key["authorization"] = self._token

    return Identity()
