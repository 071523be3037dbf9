"""The folder that holds everything a local run makes."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from components.tracking import databases
from elboflow.settings import RequestError


@dataclass(frozen=True)
class Workspace:
    """A workspace folder, by its absolute path."""

    folder: Path

    @property
    def runs(self) -> Path:
        """One folder per run, with a folder per step in each."""
        return self.folder / "runs"

    @property
    def datasets(self) -> Path:
        """One folder per dataset, named by its digest."""
        return self.folder / "datasets"

    @property
    def checkpoints(self) -> Path:
        """One folder per training that has not ended, named by what it is a function of."""
        return self.folder / "checkpoints"

    @property
    def database(self) -> Path:
        """MLflow's SQLite file."""
        return self.folder / "mlflow.db"

    @property
    def model_files(self) -> Path:
        """MLflow's artifacts."""
        return self.folder / "mlartifacts"

    @property
    def tracking_uri(self) -> str:
        """The workspace's own MLflow."""
        return databases.uri_of(self.database)


def open_to_write(folder: Path) -> Workspace:
    """Returns the workspace, made if need be.

    Raises:
        RequestError: It cannot be written to.
    """
    workspace = Workspace(folder.resolve())
    try:
        workspace.runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workspace.runs) as file:
            file.write(b"x")
    except OSError as error:
        reason = error.strerror or str(error)
        raise RequestError(
            f"the workspace {folder} cannot be written to: {reason}; choose another with --workspace"
        ) from None
    return workspace
