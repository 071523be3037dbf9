"""Requests and answers of the wire servers."""

import json
from dataclasses import dataclass, field
from typing import Any


class RefusedError(Exception):
    """A request is refused, with an HTTP status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Request:
    """A request as it came.

    Attributes:
        method: GET, POST, …
        path: The path, still quoted.
        query: The values of each key of the query.
        headers: By lower-case name.
        body: The bytes.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Returns the body as JSON."""
        try:
            return json.loads(self.body or b"{}")
        except ValueError as error:
            raise RefusedError(400, f"Invalid JSON payload received: {error}") from None

    def one(self, name: str, default: str = "") -> str:
        """Returns a value of the query."""
        return self.query.get(name, [default])[-1]

    def only(self, *allowed: str) -> None:
        """Refuses a query with other keys than these."""
        for name in self.query:
            if name not in {*allowed, "$alt", "alt", "prettyPrint"}:
                raise RefusedError(
                    400, f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.'
                )


@dataclass(frozen=True)
class Reply:
    """An answer."""

    body: bytes = b""
    status: int = 200
    kind: str = "application/json; charset=UTF-8"
    headers: dict[str, str] = field(default_factory=dict)


def answer(value: Any, status: int = 200) -> Reply:
    """Returns a value as a JSON answer."""
    return Reply(json.dumps(value).encode(), status)
