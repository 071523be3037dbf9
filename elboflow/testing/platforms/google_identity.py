"""Google's identity: tokens for a service account by its key, for others that it may act as, and for a proxy."""

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

from elboflow.testing.platforms.clock import now
from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.tokens import LIFETIME, Tokens
from elboflow.testing.platforms.wire import WireServer, route

ACCOUNT = "steps@project.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_ACTING = "https://www.googleapis.com/auth/iam"
AUDIENCE = "https://oauth2.googleapis.com/token"
"""Whom an assertion is for, wherever the token endpoint is."""


class GoogleIdentity(WireServer):
    """The token endpoint and the IAM Credentials API, for one service account with a key.

    Attributes:
        file: The account's key file, for GOOGLE_APPLICATION_CREDENTIALS.
        tokens: The access tokens, each of the account that it is for.
        identities: The identity tokens, each of the audience that it is for.
        may_act_as: The accounts whose tokens it may ask for.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.tokens: Tokens = Tokens()
        self.identities = Tokens()
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._signer = crypt.RSASigner.from_string(private)
        self._latest: dict[str, str] = {}
        self.may_act_as: set[str] = set()
        self.file = folder / "account.json"
        account = {"type": "service_account", "project_id": "project", "private_key_id": "1", "client_email": ACCOUNT}
        self.file.write_text(
            json.dumps({**account, "private_key": private.decode(), "token_uri": f"{self.url}/token"}), encoding="utf-8"
        )

    def who(self, bearer: str) -> str | None:
        """Returns whose a token is; None for nobody's. An account may also sign its tokens itself."""
        owner = self.tokens.owner(bearer)
        if owner == ACCOUNT or owner in self.may_act_as:
            return owner
        try:
            claims = jwt.decode(bearer, self._public, audience=None)
        except ValueError:
            return None
        return ACCOUNT if claims.get("sub") == ACCOUNT and claims.get("scope") == SCOPE else None

    def identity(self, audience: str) -> str:
        """Returns the identity token of the account for an audience, the same until it expires."""
        if self.identities.owner(self._latest.get(audience, "")) is None:
            claims = {"iss": "https://accounts.google.com", "aud": audience, "email": ACCOUNT}
            times = {"iat": int(now().timestamp()), "exp": int((now() + LIFETIME).timestamp())}
            token = jwt.encode(self._signer, {**claims, **times}).decode()
            self._latest[audience] = self.identities.issue(audience, token)
        return self._latest[audience]

    def admit(self, request: Request) -> None:
        if request.path != "/token":  # whose proof is the signature in its body
            super().admit(request)

    @route("POST", "/token")
    def exchange(self, request: Request) -> Reply:
        """Exchanges an assertion that the account has signed for a token."""
        given = dict(pair.split("=", 1) for pair in request.body.decode().split("&"))
        try:
            claims: dict[str, Any] = jwt.decode(given["assertion"], self._public, audience=AUDIENCE)
        except (KeyError, ValueError) as error:
            raise RefusedError(400, f"invalid_grant: {error}") from None
        if "target_audience" in claims:
            return answer({"id_token": self.identity(claims["target_audience"])})
        scope = str(claims.get("scope"))
        if scope not in (SCOPE, _ACTING) and "https://www.googleapis.com/auth/devstorage." not in scope:
            raise RefusedError(400, f"invalid_scope: {claims.get('scope')}")
        seconds = int(LIFETIME.total_seconds())
        return answer({"access_token": self.tokens.issue(ACCOUNT), "expires_in": seconds, "token_type": "Bearer"})

    @route("POST", "/v1/projects/-/serviceAccounts/{account}:generateAccessToken")
    def generate_access_token(self, request: Request, account: str) -> Reply:
        """Gives the account a token of another, if it may act as that."""
        if account not in self.may_act_as:
            raise RefusedError(403, "Permission 'iam.serviceAccounts.getAccessToken' denied on resource.")
        if request.json().get("scope") != [SCOPE]:
            raise RefusedError(400, f"invalid scope: {request.json().get('scope')}")
        token = self.tokens.issue(account, f"acting-as {account}")
        return answer({"accessToken": token, "expireTime": f"{now() + LIFETIME:%Y-%m-%dT%H:%M:%SZ}"})
