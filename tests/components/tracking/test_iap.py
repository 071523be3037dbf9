"""The token for an MLflow behind IAP, with Google's own client against a server that answers as theirs does."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from components.tracking.iap import LIFETIME_SECONDS, Identity
from elboflow.settings import WorkError

ACCOUNT = "elboflow-pipeline@my-project.iam.gserviceaccount.com"
MLFLOW = "https://elboflow-mlflow-abc.a.run.app"


class Google(BaseHTTPRequestHandler):
    """The metadata server of a machine that is ACCOUNT, and the IAM Credentials API."""

    asked: ClassVar[list[dict[str, Any]]] = []
    refuses = False

    def do_GET(self) -> None:
        if "/token" in self.path:
            self.answer({"access_token": "machine", "expires_in": 3600, "token_type": "Bearer"})
        elif self.path.startswith("/computeMetadata/v1/instance/service-accounts/default/"):
            self.answer({"email": ACCOUNT, "scopes": [], "aliases": ["default"]})
        else:
            self.answer({})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == f"/v1/projects/-/serviceAccounts/{ACCOUNT}:signJwt"
        assert self.headers["Authorization"] == "Bearer machine"
        self.asked.append(json.loads(body["payload"]))
        encoded = base64.urlsafe_b64encode(body["payload"].encode()).decode()
        self.answer({"keyId": "k", "signedJwt": f"header.{encoded}.{len(self.asked)}"}, 403 if self.refuses else 200)

    def answer(self, body: dict[str, object], status: int = 200) -> None:
        written = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Google]]:
    import mlflow

    handler = type("Answers", (Google,), {"asked": [], "refuses": False})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_port}"
    for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_IP", host)
    monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", host)  # read when it is imported
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", f"http://{host}/")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(MLFLOW)
    yield handler
    mlflow.set_tracking_uri(before)
    server.shutdown()


def test_a_step_tells_iap_which_service_account_it_is_with_a_token_for_that_address(google: type[Google]) -> None:
    identity = Identity()
    assert identity.in_context()
    assert identity.request_headers()["Authorization"].startswith("Bearer header.")
    claims = google.asked[0]
    assert claims["iss"] == claims["sub"] == ACCOUNT
    assert claims["aud"] == f"{MLFLOW}/*"
    assert claims["exp"] - claims["iat"] == LIFETIME_SECONDS


def test_a_token_is_used_again_until_shortly_before_it_ends(
    google: type[Google], monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    identity, now = Identity(), time.time()
    first = identity.request_headers()
    assert identity.request_headers() == first
    monkeypatch.setattr("components.tracking.iap.time.time", lambda: now + LIFETIME_SECONDS - 60)
    assert identity.request_headers() != first
    assert len(google.asked) == 2


def test_an_account_that_may_not_sign_is_told_which_role_it_lacks(google: type[Google]) -> None:
    google.refuses = True
    with pytest.raises(WorkError, match=r"roles/iam\.serviceAccountTokenCreator on itself"):
        Identity().request_headers()


@pytest.mark.parametrize("uri", ["http://mlflow:5000", "https://mlflow.example.com", "sqlite:///mlflow.db"])
def test_other_addresses_are_left_alone(google: type[Google], uri: str) -> None:
    import mlflow

    mlflow.set_tracking_uri(uri)
    assert not Identity().in_context()


def test_whoever_brings_a_token_keeps_it(google: type[Google], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "mine")
    assert not Identity().in_context()
