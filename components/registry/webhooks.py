"""MLflow's webhooks on the registry: which there are, and whether a registration makes them fire.

Only a server sends them. A client that writes into the database itself, as all runs in a workspace do, sends none.
"""

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.tracking import preflight

_PATH = "api/2.0/mlflow/webhooks?max_results=100"
_CAUSES = {
    "registered_model.created",
    "model_version.created",
    "model_version_tag.set",
    "model_version_alias.created",
}
"""What a registration does, as MLflow calls it."""


@dataclass(frozen=True)
class Webhook:
    """A webhook of MLflow's.

    Attributes:
        name: Its name.
        active: Whether it is switched on.
        events: What it waits for: `model_version.created`, …
    """

    name: str
    active: bool
    events: frozenset[str]

    @property
    def outlook(self) -> str:
        """What becomes of it when a server registers a version, in a sentence."""
        if not self.active:
            return f"{self.name} is switched off"
        if causes := sorted(self.events & _CAUSES):
            return f"{self.name} fires on {', '.join(causes)}"
        return f"{self.name} does not fire on a registration: it waits for {', '.join(sorted(self.events))}"


def of_server(server: str, seconds: float) -> list[Webhook] | None:
    """Returns the webhooks of a server; None where it does not tell them.

    Raises:
        requests.RequestException, servers.NoAnswerError: It does not answer within those seconds.
    """
    answer = preflight.asked(server, _PATH, seconds, os.environ.get("MLFLOW_WORKSPACE"))
    if answer.status_code != 200:
        return None
    try:
        return [_read(webhook) for webhook in answer.json().get("webhooks", [])]
    except (ValueError, AttributeError, KeyError, TypeError):
        return None


def of_database(database: Path, seconds: float) -> list[Webhook]:
    """Returns the webhooks in a SQLite file; none where it is of an MLflow that had none.

    Raises:
        sqlite3.Error: The file is damaged.
    """
    query = """SELECT webhooks.name, webhooks.status, events.entity, events.action FROM webhooks
        JOIN webhook_events AS events ON events.webhook_id = webhooks.webhook_id
        WHERE webhooks.deleted_timestamp IS NULL ORDER BY webhooks.name"""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=seconds)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'webhook_events'").fetchone():
            return []
        rows = connection.execute(query).fetchall()
    events: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, status, *event in rows:
        events.setdefault((name, status), []).append((event[0], event[1]))
    return [Webhook(name, status == "ACTIVE", _events(pairs)) for (name, status), pairs in events.items()]


def _read(webhook: Mapping[str, Any]) -> Webhook:
    events = _events((event["entity"], event["action"]) for event in webhook["events"])
    return Webhook(webhook["name"], webhook.get("status", "ACTIVE") == "ACTIVE", events)


def _events(pairs: Iterable[tuple[str, str]]) -> frozenset[str]:
    return frozenset(f"{entity}.{action}".lower() for entity, action in pairs)
