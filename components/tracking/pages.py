"""The pages of MLflow's user interface."""

from typing import TYPE_CHECKING

from components.surroundings.masking import without_userinfo

if TYPE_CHECKING:
    from mlflow.entities import Run


def run_page(tracking_uri: str, run: "Run") -> str | None:
    """Returns the address of a run's page, without user and password; None if no server shows it."""
    if not tracking_uri.startswith(("http://", "https://")):
        return None
    server = without_userinfo(tracking_uri).rstrip("/")
    return f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
