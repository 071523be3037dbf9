"""The pages of MLflow's user interface."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from components.surroundings.masking import without_userinfo

if TYPE_CHECKING:
    from mlflow.entities import Run


def run_page(tracking_uri: str, run: "Run", artifact: str | None = None) -> str | None:
    """Returns the address of a run's page, or of an artifact's, without user and password; None without a server."""
    if not tracking_uri.startswith(("http://", "https://")):
        return None
    server = without_userinfo(tracking_uri).rstrip("/")
    below = "" if artifact is None else f"/artifacts/{artifact}"
    return f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}{below}{in_workspace()}"


def pages_of(registration: Mapping[str, Any]) -> list[str]:
    """Returns the lines with the addresses of a registered run and of its version; none if no server shows them.

    Args:
        registration: tracking_uri, run_id, model and version, as in `components.register.Registration`.
    """
    if not (uri := str(registration["tracking_uri"])).startswith(("http://", "https://")):
        return []
    server = without_userinfo(uri).rstrip("/")
    # Through KFP's metadata, a number comes back as a float.
    model, version = quote(registration["model"], safe=""), int(registration["version"])
    return [
        f"MLflow: {server}/#/runs/{registration['run_id']}{in_workspace()}",
        f"        {server}/#/models/{model}/versions/{version}{in_workspace()}",
    ]


def in_workspace() -> str:
    """Returns the end of the address of a page, which names the server's workspace if MLFLOW_WORKSPACE names one."""
    name = os.environ.get("MLFLOW_WORKSPACE")
    return f"?workspace={quote(name, safe='')}" if name else ""
