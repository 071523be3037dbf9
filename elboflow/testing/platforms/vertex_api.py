"""What Google's REST APIs have in common: errors, lists with filters, masks and pages, operations, protobufs."""

import re
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from elboflow.testing.platforms.filters import matcher
from elboflow.testing.platforms.google_identity import ACCOUNT, GoogleIdentity
from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.registry import Registry
from elboflow.testing.platforms.wire import route

PLACE = "/v1/projects/{project}/locations/{location}"
PREVIEW = PLACE.replace("/v1/", "/v1beta1/")
_CODES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
          409: "ALREADY_EXISTS", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}  # fmt: skip


class GoogleAPI(Registry):
    """An API of one project and location, over TLS; Artifact Registry stands beside it.

    Attributes:
        project, number, location: Where everything is.
        identity: Who tells whose a token is; None where the token itself is compared.
        members: The accounts that may ask.
    """

    tls = True
    number = "123456789012"

    def __init__(self, project: str, location: str, token: str | None, identity: GoogleIdentity | None = None) -> None:
        super().__init__(token)
        self.identity, self.members = identity, {ACCOUNT}
        self.project, self.location = project, location
        self.creating = threading.RLock()
        self._last = 4_000_000_000

    @property
    def parent(self) -> str:
        """The resource that everything is in."""
        return f"projects/{self.number}/locations/{self.location}"

    def admit(self, request: Request) -> None:
        if self.identity is None:
            super().admit(request)
            return
        who = self.identity.who(request.headers.get("authorization", "").removeprefix("Bearer "))
        if who is None:
            raise RefusedError(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.")
        if who not in self.members:
            raise RefusedError(403, f"Permission denied for {who}.")

    def problem(self, refusal: RefusedError) -> Reply:
        status = _CODES.get(refusal.status, "UNKNOWN")
        return answer({"error": {"code": refusal.status, "message": refusal.message, "status": status}}, refusal.status)

    def here(self, project: str, location: str) -> None:
        """Refuses another project or location."""
        if project not in (self.project, self.number):
            raise RefusedError(403, f"Permission denied on resource project {project}.")
        if location != self.location:
            raise RefusedError(404, f"The location {location} has no such resource.")

    def next_number(self) -> int:
        """Returns a number for a resource."""
        with self.creating:
            self._last += 1
            return self._last

    @route("GET", f"{PLACE}/operations/{{id}}")
    def get_operation(self, request: Request, project: str, location: str, id: str) -> Reply:
        """Returns an operation: all are done at once."""
        return self.operation(id)

    def operation(self, id: str | None = None) -> Reply:
        """Returns an operation that is done."""
        empty = {"@type": "type.googleapis.com/google.protobuf.Empty"}
        name = f"{self.parent}/operations/{id or self.next_number()}"
        return answer({"name": name, "done": True, "response": empty})

    def listed(self, request: Request, name: str, found: list[Any], fields: dict[str, Callable[[Any], Any]]) -> Reply:
        """Returns a page of resources."""
        try:
            matches = matcher(request.one("filter"), fields, lambda resource: dict(getattr(resource, "labels", {})))
        except ValueError as error:
            raise RefusedError(400, str(error)) from None
        order = request.one("orderBy", "create_time desc").split()
        if order[0] != "create_time" or order[1:] not in ([], ["desc"]):
            raise RefusedError(400, f"Invalid orderBy: {' '.join(order)}")
        kept = sorted(filter(matches, found), key=lambda each: each.create_time.ToNanoseconds(), reverse=len(order) > 1)
        first, size = int(request.one("pageToken") or 0), min(int(request.one("pageSize") or 10), 100)
        mask = [_camel(part) for part in request.one("readMask").split(",") if part]
        rows = [_json(request, each) for each in kept[first : first + size]]
        page: dict[str, Any] = {name: [{k: v for k, v in row.items() if not mask or k in mask} for row in rows]}
        if len(kept) > first + size:
            page["nextPageToken"] = str(first + size)
        return answer(page)

    def shown(self, request: Request, message: Any) -> Reply:
        """Returns a resource."""
        return answer(_json(request, message))


def parsed(kind: Any, body: Any) -> Any:
    """Returns a body as a protobuf; an unknown field or a wrong type is refused."""
    try:
        return json_format.ParseDict(body, kind.pb(kind()))
    except json_format.ParseError as error:
        raise RefusedError(400, f"Invalid JSON payload received. {error}") from None


def stamp(moment: datetime) -> Timestamp:
    """Returns a time as a protobuf."""
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def _json(request: Request, message: Any) -> dict[str, Any]:
    integers = "enum-encoding=int" in request.one("$alt")
    return json_format.MessageToDict(message, use_integers_for_enums=integers)


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name.partition(".")[0])
