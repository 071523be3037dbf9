"""The token on every request to an MLflow on Cloud Run behind Google's Identity-Aware Proxy (IAP).

MLflow finds `Identity` by its entry point and asks it for headers. The token is a JWT that a service account signs of
itself for one address, as IAP takes it (https://cloud.google.com/iap/docs/authentication-howto, "signed JWT"). Other
addresses are left alone, as are all where MLFLOW_TRACKING_TOKEN or MLFLOW_TRACKING_USERNAME is set.
"""

import json
import os
import time
from urllib.parse import urlsplit

from components.surroundings import google
from elboflow.settings import RequestError, WorkError

LIFETIME_SECONDS = 3600
"""The longest that IAP accepts."""
RENEWED_BEFORE_SECONDS = 300
TIMEOUT_SECONDS = 30.0


class Identity:
    """An MLflow request header provider."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[str, float]] = {}

    def in_context(self) -> bool:
        """Returns whether the MLflow of this process stands behind IAP, as far as its address tells."""
        if os.environ.get("MLFLOW_TRACKING_TOKEN") or os.environ.get("MLFLOW_TRACKING_USERNAME"):
            return False
        return is_behind(_tracking_uri())

    def request_headers(self) -> dict[str, str]:
        """Returns the header with the token, which is renewed before it ends."""
        address = urlsplit(_tracking_uri())
        audience = f"{address.scheme}://{address.netloc}/*"
        token, ends = self._tokens.get(audience, ("", 0.0))
        if time.time() > ends - RENEWED_BEFORE_SECONDS:
            now = int(time.time())
            token, ends = signed(audience, now), now + LIFETIME_SECONDS
            self._tokens[audience] = token, ends
        return {"Authorization": f"Bearer {token}"}


def signed(audience: str, now: int) -> str:
    """Returns the JWT of the service account that this process is, signed by the IAM Credentials API.

    Raises:
        WorkError: This process is no service account, or its account may not sign its own tokens.
    """
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    account, mlflow = "", f"the MLflow at {audience[:-2]}"
    try:
        session = google.Session(google.credentials(), TIMEOUT_SECONDS)
        session.token()  # the credentials of a virtual machine know their account only then
        kind, _, account = (session.member() or "").partition(":")
        if kind != "serviceAccount":
            raise WorkError(
                f"{mlflow} is behind IAP, which wants a service account: act as one "
                "(gcloud auth application-default login --impersonate-service-account=ACCOUNT)"
            )
        claims = {"iss": account, "sub": account, "aud": audience, "iat": now, "exp": now + LIFETIME_SECONDS}
        token: str = session.post(f"{google.signing(account)}:signJwt", {"payload": json.dumps(claims)})["signedJwt"]
    except google.GoogleError as error:
        raise WorkError(
            f"{account} may not sign a token for {mlflow} (HTTP {error.status}); it needs "
            "roles/iam.serviceAccountTokenCreator on itself"
        ) from error
    except (RequestError, GoogleAuthError, RequestException) as error:
        raise WorkError(f"no token for {mlflow}: {error}") from error
    return token


def _tracking_uri() -> str:
    import mlflow

    return str(mlflow.get_tracking_uri())


def is_behind(tracking_uri: str) -> bool:
    """Returns whether an MLflow stands behind IAP, as far as its address tells."""
    address = urlsplit(tracking_uri)
    return address.scheme == "https" and (address.hostname or "").endswith(".run.app")
