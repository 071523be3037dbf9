"""The files of a registered version, on this machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components import history
from settings import RequestError, WorkError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def model_folder(client: "MlflowClient", version: "ModelVersion") -> Path:
    """Returns the model folder of a registered version.

    Raises:
        WorkError: MLflow does not have its files any more.
        RequestError: It is not a model of ELBOflow's.
    """
    return folder_in(client, f"models:/{version.name}/{version.version}")


def folder_in(client: "MlflowClient", uri: str) -> Path:
    """Returns the model folder inside an MLflow model, downloaded where it is on a server.

    Raises:
        WorkError: MLflow does not have its files any more.
        RequestError: It is not a model of ELBOflow's.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    with _missing(f"the files of {uri}"):
        path = Path(download_artifacts(artifact_uri=uri, tracking_uri=client.tracking_uri))
        flavor = Model.load(str(path)).flavors.get("python_function", {})
    try:
        return path / flavor["artifacts"]["model"]["path"]
    except KeyError:
        raise RequestError(f"{uri} is not a model of ELBOflow's: it holds no model folder") from None


def evaluation_folder(client: "MlflowClient", version: "ModelVersion") -> Path:
    """Returns the evaluation folder of the run that made a registered version.

    Raises:
        WorkError: MLflow does not have it any more.
    """
    with _missing(f"the evaluation of version {version.version} of {version.name}, in its run {version.run_id}"):
        return Path(client.download_artifacts(version.run_id, history.EVALUATION))


@contextlib.contextmanager
def _missing(what: str) -> Iterator[None]:
    from mlflow import MlflowException

    try:
        yield
    except (OSError, MlflowException) as error:
        raise WorkError(f"MLflow does not have {what}: {error}") from error
