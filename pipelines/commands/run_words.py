"""Runs in words and as JSON, as all commands show them."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pipelines.targets import ENDED, RunState


def values(state: "RunState") -> dict[str, Any]:
    """Returns a run as JSON values; times in ISO 8601, in UTC."""
    from components.surroundings.masking import masked_values

    shown: dict[str, Any] = json.loads(json.dumps(asdict(state), default=datetime.isoformat))
    for told in (shown, *shown["steps"]):
        told["reason"] = masked_values(told["reason"])
    return {"run": shown.pop("id") or None, **shown}


def begun(run: "RunState") -> str:
    """Returns when a run began, in the time of this machine."""
    return f"{run.created.astimezone():%Y-%m-%d %H:%M}" if run.created else ""


def took(started: datetime | None, ended: datetime | None) -> str:
    """Returns how long something took, or has taken so far."""
    if started is None:
        return ""
    seconds = ((ended or datetime.now(started.tzinfo)) - started).total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds >= 0 else ""  # the clock was put back
    minutes, hours = seconds / 60, seconds / 3600
    return f"{int(minutes)} min {seconds % 60:02.0f} s" if hours < 1 else f"{int(hours)} h {int(minutes) % 60:02} min"


def has_ended(state: "RunState") -> bool:
    """Returns whether a run has ended."""
    return state.status in ENDED


def said(state: "RunState") -> str:
    """Returns a run's status, with the reason for it."""
    if state.status != "failed":
        return f"{state.status}: {state.reason}" if state.reason else state.status
    step = next((step.name for step in state.steps if step.status == "failed"), None)
    return f"failed{f' in {step}' if step else ''}" + (f": {state.reason}" if state.reason else "")
