"""A way to an MLflow server on which things go wrong."""

import urllib.error
import urllib.request

from elboflow.testing.platforms.messages import Reply, Request
from elboflow.testing.platforms.wire import WireServer, route


class Proxy(WireServer):
    """Passes requests on to a server, except for those that a fault meets."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server = server

    @route("GET", "{path+}")
    @route("POST", "{path+}")
    def passed(self, request: Request, path: str) -> Reply:
        """Asks the server."""
        query = "&".join(f"{name}={value}" for name, values in request.query.items() for value in values)
        asked = urllib.request.Request(
            f"{self._server}{request.path}" + (f"?{query}" if query else ""),
            data=request.body if request.method == "POST" else None,
            headers={"Content-Type": "application/json"},
            method=request.method,
        )
        try:
            with urllib.request.urlopen(asked, timeout=60) as answered:
                return Reply(answered.read(), answered.status)
        except urllib.error.HTTPError as refused:
            return Reply(refused.read(), refused.code)
