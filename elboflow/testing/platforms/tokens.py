"""Tokens that expire, by the clock of the servers."""

import os
import threading
from datetime import datetime, timedelta

from elboflow.testing.platforms.clock import now

LIFETIME = timedelta(hours=1)


class Tokens:
    """The tokens of an issuer.

    Attributes:
        late: How often a token was shown that had expired.
    """

    def __init__(self) -> None:
        self.late = 0
        self._issued: dict[str, tuple[str, datetime]] = {}
        self._lock = threading.Lock()

    def issue(self, owner: str, token: str | None = None, lifetime: timedelta = LIFETIME) -> str:
        """Returns a token of an owner: a new one, or the given one, which is valid from now on."""
        token = token or os.urandom(16).hex()
        with self._lock:
            self._issued[token] = (owner, now() + lifetime)
        return token

    def owner(self, token: str) -> str | None:
        """Returns whose a token is; None for one that was not issued, or has expired."""
        with self._lock:
            owner, until = self._issued.get(token, (None, now()))
            if owner is not None and now() >= until:
                self.late += 1
                return None
            return owner
