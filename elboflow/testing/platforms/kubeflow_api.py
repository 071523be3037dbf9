"""What Kubeflow's REST API has in common: strict bodies, errors, lists with filters and pages."""

import json
import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import kfp_server_api

from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.wire import WireServer

_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 500: 13, 503: 14}
_SCALARS = {"str": str, "int": int, "bool": bool, "float": float}
_NEVER = "1970-01-01T00:00:00Z"
_OPERATIONS: dict[str, Callable[[str, str], bool]] = {
    "EQUALS": lambda have, want: have == want,
    "NOT_EQUALS": lambda have, want: have != want,
    "IS_SUBSTRING": lambda have, want: want in have,
}


class KubeflowAPI(WireServer):
    """An API that knows who asks by a bearer token or by a cookie.

    Attributes:
        cookie: NAME=VALUE that requests must carry; without it they are sent to a login.
        multi_user: Whether namespaces are told apart; if not, none may be named.
    """

    def __init__(self, token: str | None = None, cookie: str | None = None, multi_user: bool = False) -> None:
        super().__init__(token)
        self.cookie, self.multi_user = cookie, multi_user
        self.creating = threading.RLock()

    def admit(self, request: Request) -> None:
        if self.cookie is not None and self.cookie not in request.headers.get("cookie", ""):
            raise RefusedError(302, "/dex/auth")
        super().admit(request)

    def problem(self, refusal: RefusedError) -> Reply:
        if refusal.status == 302:
            return Reply(b"<a>Found</a>", 302, "text/html", {"Location": refusal.message})
        code = _CODES.get(refusal.status, 2)
        details = [{"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": refusal.message}]
        body = {"error": refusal.message, "code": code, "message": refusal.message, "details": details}
        return answer(body, refusal.status)

    def namespace(self, given: str | None) -> str:
        """Returns the namespace of a request."""
        if not self.multi_user and given:
            raise RefusedError(400, f"Invalid input error: In single-user mode, the namespace must be empty: {given}")
        if self.multi_user and not given:
            raise RefusedError(400, "Invalid input error: A namespace is required in multi-user mode")
        return given or ""

    def listed(self, request: Request, name: str, found: list[dict[str, Any]], fields: tuple[str, ...]) -> Reply:
        """Returns a page of resources, of which `fields` can be filtered and sorted by."""
        request.only("page_token", "page_size", "sort_by", "filter", "namespace", "experiment_id")
        for predicate in _predicates(request):
            found = [each for each in found if _holds(predicate, each, fields)]
        key, _, order = (request.one("sort_by") or "created_at").partition(" ")
        if key not in fields or order not in ("", "asc", "desc"):
            raise RefusedError(400, f"Invalid input error: Invalid sorting field: {key} {order}")
        ordered = sorted(found, key=lambda each: str(each.get(key)), reverse=order == "desc")
        first, size = int(request.one("page_token") or 0), int(request.one("page_size") or 10)
        page: dict[str, Any] = {"total_size": len(ordered)}
        if chosen := ordered[first : first + size]:
            page[name] = chosen
        if len(ordered) > first + size:
            page["next_page_token"] = str(first + size)
        return answer(page)


def strict(kind: str, body: Any, place: str = "") -> Any:
    """Returns a body whose fields are all known to a model of `kfp_server_api`, and of the right types."""
    kind = kind.strip()
    if inner := re.fullmatch(r"list\[(.+)\]", kind):
        return [strict(inner[1], each, place) for each in _must(list, body, place)]
    if inner := re.fullmatch(r"dict\(str, (.+)\)", kind):
        return {key: strict(inner[1], each, f"{place}.{key}") for key, each in _must(dict, body, place).items()}
    if kind in ("object", "ProtobufAny"):
        return body
    if kind == "datetime":
        try:
            datetime.fromisoformat(_must(str, body, place))
        except ValueError:
            raise RefusedError(400, f"invalid value for {place}: bad Timestamp: {body!r}") from None
        return body
    if kind == "str" and type(body) is int:
        return str(body)  # whole numbers of 64 bits are strings in protobuf's JSON, and numbers are taken for them
    if kind in _SCALARS:
        return _must(_SCALARS[kind], body, place)
    model = getattr(kfp_server_api, kind)
    if hasattr(model, "allowable_values"):
        if type(body) is int and 0 <= body < len(model.allowable_values):
            return model.allowable_values[body]  # protobuf's JSON takes an enum's number, too
        if body not in model.allowable_values:
            raise RefusedError(400, f"invalid value for enum type {kind}: {body!r}")
        return body
    for key in _must(dict, body, place):
        if key not in model.openapi_types:
            raise RefusedError(400, f'proto: (line 1): unknown field "{key}" in {kind}')
    return {key: strict(model.openapi_types[key], each, f"{place}.{key}") for key, each in body.items()}


def written(moment: datetime | None) -> str:
    """Returns a time as Kubeflow writes it: one that has not come is in 1970."""
    return _NEVER if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def new_id() -> str:
    """Returns an id for a resource."""
    return str(uuid.uuid4())


def _must(kind: type, body: Any, place: str) -> Any:
    if not isinstance(body, kind):
        raise RefusedError(400, f"invalid value for {place or 'the body'}: {body!r}")
    return body


def _predicates(request: Request) -> list[dict[str, Any]]:
    if not request.one("filter"):
        return []
    try:
        given = json.loads(request.one("filter"))
    except ValueError:
        raise RefusedError(400, "Invalid input error: failed to parse the filter") from None
    if set(given) != {"predicates"}:
        raise RefusedError(400, f"Invalid input error: unknown fields in the filter: {sorted(given)}")
    return [
        strict("V2beta1Predicate", {re.sub("([A-Z])", r"_\1", key).lower(): value for key, value in each.items()})
        for each in given["predicates"]
    ]


def _holds(predicate: dict[str, Any], resource: dict[str, Any], fields: tuple[str, ...]) -> bool:
    if predicate["key"] not in fields:
        raise RefusedError(
            400, f"Invalid input error: no support for filtering on unrecognized field {predicate['key']!r}"
        )
    if predicate["operation"] not in _OPERATIONS or "string_value" not in predicate:
        raise RefusedError(400, f"Invalid input error: unsupported predicate {predicate}")
    return _OPERATIONS[predicate["operation"]](str(resource.get(predicate["key"], "")), predicate["string_value"])
