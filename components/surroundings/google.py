"""Google Cloud's REST APIs: one session that owns credentials, timeouts, retries and errors.

Google's generated clients take seconds to import, and each method repeats requests by a policy of its own. The APIs
themselves are JSON over HTTPS (AIP-127): https://cloud.google.com/apis/design.

An API is at its public address, or where gcloud's own variable says: CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING, ….
"""

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from components.surroundings import retries, servers
from components.surroundings.causes import said
from elboflow.settings import RequestError

if TYPE_CHECKING:
    from requests import Response

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LOGIN = "gcloud auth application-default login"
SECONDS = 60.0
"""The timeout of a request."""


class GoogleError(Exception):
    """An API answered with an error.

    Attributes:
        status: The HTTP status.
        retry_after: The seconds that the API asks to wait.
    """

    def __init__(self, status: int, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


def address(api: str) -> str:
    """Returns where an API is: `storage` at https://storage.googleapis.com."""
    override = os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}")
    if api == "storage":
        override = os.environ.get("STORAGE_EMULATOR_HOST") or override
    return (override or f"https://{api}.googleapis.com").rstrip("/")


def credentials(project: str | None = None, account: str | None = None) -> Any:
    """Returns Application Default Credentials.

    Args:
        project: The project whose quota requests count against.
        account: The service account to act as.

    Raises:
        RequestError: There are none.
    """
    servers.watch()
    import google.auth
    from google.auth import impersonated_credentials
    from google.auth.exceptions import DefaultCredentialsError

    try:
        own, _ = google.auth.default(scopes=[SCOPE], quota_project_id=project)
    except DefaultCredentialsError:
        raise RequestError(
            f"no Application Default Credentials for Google Cloud are here; make some: {LOGIN}"
        ) from None
    if account is None:
        return own
    return impersonated_credentials.Credentials(
        own, account, target_scopes=[SCOPE], iam_endpoint_override=f"{signing(account)}:generateAccessToken"
    )


def signing(account: str) -> str:
    """Returns the resource of a service account in the IAM Credentials API."""
    return f"{address('iamcredentials')}/v1/projects/-/serviceAccounts/{account}"


def delay(error: Exception) -> float | None:
    """Returns how long Google asks to wait before a retry; None for an error that no retry helps."""
    import requests
    from google.auth.exceptions import TransportError

    if isinstance(error, requests.exceptions.SSLError):
        return None
    if isinstance(error, requests.ConnectionError | requests.Timeout | TransportError):
        return 0.0
    if isinstance(error, GoogleError) and error.status in retries.BUSY:
        return error.retry_after
    return None


class Session:
    """Requests with the caller's credentials. Safe to use from several threads.

    Args:
        credentials: What `credentials` returned.
        seconds: The timeout of a request.
    """

    def __init__(self, credentials: Any, seconds: float = SECONDS) -> None:
        from google.auth.transport.requests import AuthorizedSession

        self.credentials, self._seconds = credentials, seconds
        self._http = AuthorizedSession(credentials)
        self._refreshing = threading.Lock()
        self._failure: Exception | None = None

    def token(self) -> str:
        """Returns an access token of the caller, which is refreshed by one thread for all."""
        from google.auth.transport.requests import Request

        before = self._failure
        with self._refreshing:
            if self._failure is not None and self._failure is not before:
                raise self._failure  # of another thread, while this one waited
            try:
                if not self.credentials.valid:
                    self.credentials.refresh(partial(Request(), timeout=self._seconds))
            except Exception as error:
                self._failure = error
                raise
        return str(self.credentials.token)

    def member(self) -> str | None:
        """Returns the caller as IAM policies name it, `serviceAccount:…` or `user:…`; None where the credentials do
        not say it."""
        for kind, attribute in (("serviceAccount", "service_account_email"), ("user", "account")):
            if "@" in (account := str(getattr(self.credentials, attribute, None) or "")):
                return f"{kind}:{account}"
        return None

    def request(self, method: str, url: str, **options: Any) -> "Response":
        """Returns the response to one request; `options` are those of `requests`.

        Raises:
            GoogleError: The API answered with an error.
            GoogleAuthError, requests.RequestException: It could not be asked.
        """
        self.token()
        response = self._http.request(method, url, timeout=self._seconds, **options)
        if not response.ok:
            message = said(response.content, response.reason)
            raise GoogleError(response.status_code, message, retries.retry_after(response.headers))
        return response

    def get(self, url: str, **query: Any) -> Any:
        """Returns the JSON of a GET request, with retries."""
        return self.retried("GET", url, params=query).json()

    def post(self, url: str, body: dict[str, Any]) -> Any:
        """Returns the JSON of a POST request that is safe to repeat, with retries."""
        return self.retried("POST", url, json=body).json()

    def retried(self, method: str, url: str, **options: Any) -> "Response":
        """Returns the response to a request that is safe to repeat, with retries."""
        return retries.retried(lambda: self.request(method, url, **options), delay)


def pages(ask: Callable[[dict[str, str]], Any], items: str) -> Iterator[Any]:
    """Yields the items of all pages of a list.

    Args:
        ask: Requests a page, given the page's token as {"pageToken": …}, or {} for the first.
        items: The field of a page that holds them.
    """
    token: dict[str, str] = {}
    while True:
        page = ask(token)
        yield from page.get(items, ())
        if not page.get("nextPageToken"):
            return
        token = {"pageToken": page["nextPageToken"]}
