"""The logs of steps on Vertex AI, which are in Cloud Logging.

Its REST method `entries.list` is all that is needed of it. CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING, which gcloud knows,
names another address.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

from pipelines.targets.patience import patiently
from pipelines.targets.vertex.connection import passing

ADDRESS = "https://logging.googleapis.com/"


def lines(credentials: Any, project: str, job: str, prefix: str | None = None) -> Iterator[str]:
    """Yields what a custom job printed.

    Args:
        credentials: Google credentials.
        project: The project.
        job: The custom job's id.
        prefix: What stands before each line, if anything.
    """
    from google.auth.transport.requests import AuthorizedSession

    address = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING", ADDRESS).rstrip("/")
    session = AuthorizedSession(credentials)
    wanted = {
        "resourceNames": [f"projects/{project}"],
        "filter": f'resource.type="ml_job" AND resource.labels.job_id="{job}"',
        "orderBy": "timestamp asc",
        "pageSize": 1000,
    }
    while True:
        page = patiently(lambda: _page(session, address, wanted), passing)
        for entry in page.get("entries", []):
            for line in _text(entry).splitlines():
                yield f"{prefix}: {line}" if prefix else line
        if not page.get("nextPageToken"):
            return
        wanted["pageToken"] = page["nextPageToken"]


def _page(session: Any, address: str, wanted: dict[str, Any]) -> Any:
    from google.api_core.exceptions import from_http_response

    answer = session.post(f"{address}/v2/entries:list", json=wanted, timeout=60)
    if not answer.ok:
        raise from_http_response(answer)
    return answer.json()


def _text(entry: dict[str, Any]) -> str:
    if "textPayload" in entry:
        return str(entry["textPayload"])
    payload = entry.get("jsonPayload", {})
    return str(payload["message"]) if "message" in payload else json.dumps(payload)
