"""The pages of MLflow's user interface."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from components.surroundings.masking import without_userinfo

if TYPE_CHECKING:
    from mlflow.entities import Run


def run_page(tracking_uri: str, run: "Run") -> str | None:
    """Returns the address of a run's page, without user and password; None if no server shows it."""
    if not tracking_uri.startswith(("http://", "https://")):
        return None
    server = without_userinfo(tracking_uri).rstrip("/")
    return f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


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
        f"MLflow: {server}/#/runs/{registration['run_id']}",
        f"        {server}/#/models/{model}/versions/{version}",
    ]
