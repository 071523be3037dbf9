"""The folder that holds everything a local run makes, and its settings: `workspace.yaml` in it."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from components.tracking import databases
from elboflow.artifacts import lock
from elboflow.settings import RequestError, Settings, yaml_text
from elboflow.settings.explain import explain

SETTINGS = "workspace.yaml"


class Keep(Settings):
    """What `elboflow clean` leaves in a workspace."""

    runs: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="the newest runs of each experiment, and ticks of each schedule, whose folders are kept; null: all",
    )
    datasets: Literal["all", "referenced"] = Field(
        "all", description="the datasets that are kept: all, or those that a run or a version that is kept needs"
    )


class WorkspaceSettings(Settings):
    """The settings of a workspace."""

    keep: Keep | None = Field(None, description="what is kept; null: everything but what killed processes left")


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
    def sweeps(self) -> Path:
        """One folder per sweep, named after what it is a function of: its trials, and the study of a search."""
        return self.folder / "sweeps"

    @property
    def fetched(self) -> Path:
        """One folder per run of a platform whose steps were repeated here: what they read."""
        return self.folder / "fetched"

    @property
    def reproduced(self) -> Path:
        """One folder per registered version that was made again."""
        return self.folder / "reproduced"

    @property
    def database(self) -> Path:
        """MLflow's SQLite file."""
        return self.folder / "mlflow.db"

    @property
    def model_files(self) -> Path:
        """MLflow's artifacts."""
        return self.folder / "mlartifacts"

    @contextlib.contextmanager
    def beginning(self) -> Iterator[None]:
        """Locks the beginning of runs against `elboflow clean`: no dataset is taken from a run that just found it."""
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):  # that the disk is full, or has no locks, is for a step to say
                held.enter_context(lock.locked(self.folder / ".beginning.lock"))
            yield

    @property
    def settings(self) -> WorkspaceSettings:
        """The settings.

        Raises:
            RequestError: The file cannot be read, or something is wrong in it.
        """
        path = self.folder / SETTINGS
        try:
            document = yaml_text.read(path.read_text(encoding="utf-8"))
            return WorkspaceSettings.model_validate({} if document.value is None else document.value)
        except FileNotFoundError:
            return WorkspaceSettings()
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(f"{path}: cannot be read: {error}") from None
        except yaml_text.YAMLTextError as error:
            raise RequestError(f"{path}{'' if error.line is None else f':{error.line}'}: {error}") from None
        except ValidationError as error:
            lines = {keys: line for keys, line in document.lines.items() if keys}
            found = [
                f"{path}{f':{lines[problem.path]}' if problem.path in lines else ''}: {problem}"
                for problem in explain(error, WorkspaceSettings)
            ]
            raise RequestError("\n".join(found)) from None

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
