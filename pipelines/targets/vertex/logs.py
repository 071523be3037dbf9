"""The logs of steps on Vertex AI, which are in Cloud Logging: https://cloud.google.com/logging/docs/reference/v2/rest."""

import json
from collections.abc import Iterator
from typing import Any

from components.surroundings import google


def lines(session: google.Session, project: str, job: str) -> Iterator[str]:
    """Yields what a custom job printed."""
    url = f"{google.address('logging')}/v2/entries:list"
    wanted = {
        "resourceNames": [f"projects/{project}"],
        "filter": f'resource.type="ml_job" AND resource.labels.job_id="{job}"',
        "orderBy": "timestamp asc",
        "pageSize": 1000,
    }
    for entry in google.pages(lambda token: session.post(url, wanted | token), "entries"):
        yield from _text(entry).splitlines()


def _text(entry: dict[str, Any]) -> str:
    if "textPayload" in entry:
        return str(entry["textPayload"])
    payload = entry.get("jsonPayload", {})
    return str(payload["message"]) if "message" in payload else json.dumps(payload)
