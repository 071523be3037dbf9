"""Google Cloud, asked over REST with the experiment's credentials: one session for all checks."""

import os
import threading
from functools import cached_property
from typing import Any

from components.surroundings import servers
from elboflow.settings import RequestError
from pipelines.doctor import PATIENCE, Finding
from pipelines.targets.vertex.connection import LOGIN, Connection, credentials


class RefusedError(Exception):
    """A request had no useful answer; the text says why."""


class Cloud:
    """A project, asked as a connection says.

    APIs are at their usual addresses, or where gcloud's own variables say:
    CLOUDSDK_API_ENDPOINT_OVERRIDES_SERVICEUSAGE, …_STORAGE.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._asking = threading.Lock()
        self._failed: Exception | None = None

    def who(self) -> Finding:
        """Looks whether there are credentials, and whether Google takes them."""
        from google.auth.exceptions import GoogleAuthError

        what = "credentials"
        try:
            self.token()
        except RequestError as error:
            return Finding(what, "ill", str(error).partition(";")[0], LOGIN)
        except (GoogleAuthError, servers.NoAnswerError) as error:
            return Finding(what, "ill", f"Google does not take them: {servers.short(error)}", f"renew them: {LOGIN}")
        account = self.member().partition(":")[2] if self._named() else "a person's, or nobody's"
        return Finding(what, "well", f"Application Default Credentials: {account}")

    def member(self) -> str:
        """Returns the caller as Google's policies name it; for a person whose credentials do not say who they are,
        an expression of the shell that does."""
        return self._named() or '"user:$(gcloud config get account)"'

    def _named(self) -> str | None:
        for kind, attribute in (("serviceAccount", "service_account_email"), ("user", "account")):
            if "@" in (account := str(getattr(self._credentials, attribute, None) or "")):
                return f"{kind}:{account}"
        return None

    def token(self) -> str:
        """Returns a token of the caller."""
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request

        with self._asking:
            if self._failed is not None:
                raise self._failed
            asking = self._credentials
            try:
                if not asking.valid:
                    asking.refresh(_in_time(Request()))
            except (GoogleAuthError, servers.NoAnswerError) as error:
                self._failed = error  # which other checks need not find out again, each in its time
                raise
        return str(asking.token)

    def ask(self, api: str, path: str, query: list[tuple[str, str]] | None = None) -> Any:
        """Returns the JSON that an API answers a GET request with.

        Raises:
            RefusedError: It answers otherwise, or not at all.
        """
        import requests
        from google.auth.exceptions import GoogleAuthError

        try:
            headers = {"Authorization": f"Bearer {self.token()}", "X-Goog-User-Project": self.connection.project}
            answer = requests.get(f"{address(api)}{path}", query, headers=headers, timeout=PATIENCE)
        except (RequestError, GoogleAuthError):
            raise RefusedError("there are no credentials to ask with") from None
        except (requests.RequestException, servers.NoAnswerError) as error:
            raise RefusedError(f"{address(api)} cannot be reached from here: {servers.short(error)}") from None
        if answer.status_code != 200:
            raise RefusedError(f"{api} answers {answer.status_code}: {_said(answer)}")
        return answer.json()

    @cached_property
    def _credentials(self) -> Any:
        return credentials(self.connection)


def address(api: str) -> str:
    """Returns where an API is."""
    override = os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}")
    if api == "storage":
        override = os.environ.get("STORAGE_EMULATOR_HOST") or override
    return (override or f"https://{api}.googleapis.com").rstrip("/")


def _in_time(request: Any) -> Any:
    def within(*arguments: Any, **rest: Any) -> Any:
        return request(*arguments, **{**rest, "timeout": PATIENCE})

    return within


def _said(answer: Any) -> str:
    try:
        return str(answer.json()["error"]["message"]).partition("\n")[0][:160]
    except (ValueError, KeyError, TypeError):
        return str(answer.reason)
