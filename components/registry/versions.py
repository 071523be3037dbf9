"""The files of a registered version, on this machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from elboflow.artifacts import names
from elboflow.settings import RequestError, WorkError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

EVALUATION = "evaluation"
"""The folder of a run's artifacts that holds the evaluation of its model."""


def model_folder(uri: str, copy_to: Path | None = None) -> Path:
    """Returns the model folder inside an MLflow model.

    Args:
        uri: `models:/NAME/VERSION` or `models:/ID`.
        copy_to: An existing folder to copy the model into. By default the folder is used where it is, or, if it is on
            a server, downloaded into a temporary folder that stays.

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

    if copy_to is not None:
        return Path(download_artifacts(uri, dst_path=str(copy_to)))
    place = ModelsArtifactRepository.get_underlying_uri(uri)
    if place.startswith("file:"):  # MLflow would write into it
        return Path(local_file_uri_to_path(place))
    return Path(download_artifacts(uri))


def evaluation_folder(client: "MlflowClient", version: "ModelVersion", copy_to: Path) -> Path:
    """Copies the evaluation folder of the run that made a registered version into an existing folder.

    Raises:
        WorkError: MLflow does not have it any more.
    """
    with _missing(f"the evaluation of version {version.version} of {version.name}, in its run {version.run_id}"):
        return Path(client.download_artifacts(version.run_id, EVALUATION, str(copy_to)))


@contextlib.contextmanager
def _missing(what: str) -> Iterator[None]:
    from mlflow import MlflowException

    try:
        yield
    except (OSError, MlflowException) as error:
        raise WorkError(f"MLflow does not have {what}: {error}") from error
