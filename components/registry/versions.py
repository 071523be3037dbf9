"""The files of a registered version, on this machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import TypeAdapter

from elboflow import artifacts
from elboflow.artifacts import names
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import RequestError, WorkError

if TYPE_CHECKING:
    from mlflow import MlflowClient

EVALUATION = "evaluation"
"""The folder of a run's artifacts that holds the evaluation of its model."""

LINEAGE = "lineage"
"""The folder of a run's artifacts for what programs read of its origin. MLflow's page lists folders before files, both
by name: the only files beside the folders are for people."""

ENVIRONMENT = "environment.json"
"""The artifact of a run with the versions of Python and packages, and the hardware, of its training."""

_VERSIONS = TypeAdapter(dict[str, str])


def model_folder(uri: str, copy_to: Path | None = None) -> Path:
    """Returns the model folder inside an MLflow model.

    Args:
        uri: `models:/NAME/VERSION` or `models:/ID`.
        copy_to: An existing folder to download a model on a server into; by default a temporary folder that stays.
            One of this machine is used where it is.

    Raises:
        WorkError: MLflow does not have its files any more.
        RequestError: It is not a model of ELBOflow's.
    """
    with _missing(f"the files of {uri}"):
        path = _files(uri, copy_to)
    return model_folder_in(path, uri)


def model_folder_in(path: Path, uri: str) -> Path:
    """Returns the model folder inside the files of an MLflow model, which are here.

    Args:
        path: The files.
        uri: What errors call the model.

    Raises:
        WorkError: Its files are not there, or cannot be read.
        RequestError: It is not a model of ELBOflow's.
    """
    with _missing(f"the files of {uri}"):
        text = (path / "MLmodel").read_bytes()
    try:
        # Not by MLflow's Model.load, which takes the path for a URI: a folder may be called `My%20Project`. As text
        # alone: a damaged date or number is of no interest here.
        about = yaml.load(text, yaml.BaseLoader)
        place = about["flavors"]["python_function"]["artifacts"]["model"]["path"]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise WorkError(f"{path / 'MLmodel'}, of {uri}, is damaged: it is no YAML") from None
    except (KeyError, TypeError):
        raise RequestError(f"{uri} is not a model of ELBOflow's: it holds no model folder") from None
    try:
        names.check([place], "MLmodel")
    except WorkError as error:
        raise WorkError(f"{path / 'MLmodel'} cannot be used: {error}") from None
    return path / place


def _files(uri: str, copy_to: Path | None) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository
    from mlflow.utils.file_utils import local_file_uri_to_path

    place = ModelsArtifactRepository.get_underlying_uri(uri)
    if place.startswith("file:"):  # MLflow would write into it
        return Path(local_file_uri_to_path(place))
    return Path(download_artifacts(uri, dst_path=None if copy_to is None else str(copy_to)))


def evaluation_folder(client: "MlflowClient", run_id: str, copy_to: Path) -> Path:
    """Copies the evaluation folder of an MLflow run into an existing folder.

    Raises:
        WorkError: MLflow does not have it any more.
    """
    with _missing(f"the evaluation in the run {run_id}"):
        return Path(client.download_artifacts(run_id, EVALUATION, str(copy_to)))


def trained_with(client: "MlflowClient", run_id: str) -> dict[str, str]:
    """Returns the versions and the hardware of the training of an MLflow run, by name; empty for older runs.

    Raises:
        WorkError: They are damaged.
    """
    folders = [LINEAGE] if any(found.path == LINEAGE for found in client.list_artifacts(run_id)) else []
    known = {found.path for folder in (*folders, None) for found in client.list_artifacts(run_id, folder)}
    if known.isdisjoint((f"{LINEAGE}/{ENVIRONMENT}", ENVIRONMENT)):
        return {}
    with temporary_folder() as temporary:
        return artifacts.read_json(lineage_file(client, run_id, ENVIRONMENT, temporary), _VERSIONS.validate_python)


def lineage_file(client: "MlflowClient", run_id: str, name: str, copy_to: Path) -> Path:
    """Copies a file of what a run was made from into an existing folder; older runs have it beside their report.

    Raises:
        WorkError: MLflow does not have it.
    """
    from mlflow import MlflowException

    with _missing(f"{name} of the run {run_id}"):
        try:
            return Path(client.download_artifacts(run_id, f"{LINEAGE}/{name}", str(copy_to)))
        except (OSError, MlflowException):
            return Path(client.download_artifacts(run_id, name, str(copy_to)))


@contextlib.contextmanager
def _missing(what: str) -> Iterator[None]:
    from mlflow import MlflowException

    try:
        yield
    except (OSError, MlflowException) as error:
        raise WorkError(f"MLflow does not have {what}: {error}") from error
