"""The files of a registered version, on this machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts import names
from components import history
from settings import RequestError, WorkError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


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
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    with _missing(f"the files of {uri}"):
        path = Path(download_artifacts(uri, dst_path=None if copy_to is None else str(copy_to)))
        flavor = Model.load(str(path)).flavors.get("python_function", {})
    try:
        place = flavor["artifacts"]["model"]["path"]
    except (KeyError, TypeError):
        raise RequestError(f"{uri} is not a model of ELBOflow's: it holds no model folder") from None
    try:
        names.check([place], "MLmodel")
    except WorkError as error:
        raise WorkError(f"{path / 'MLmodel'} is not believed: {error}") from None
    return path / place


def evaluation_folder(client: "MlflowClient", version: "ModelVersion", copy_to: Path) -> Path:
    """Copies the evaluation folder of the run that made a registered version into an existing folder.

    Raises:
        WorkError: MLflow does not have it any more.
    """
    with _missing(f"the evaluation of version {version.version} of {version.name}, in its run {version.run_id}"):
        return Path(client.download_artifacts(version.run_id, history.EVALUATION, str(copy_to)))


@contextlib.contextmanager
def _missing(what: str) -> Iterator[None]:
    from mlflow import MlflowException

    try:
        yield
    except (OSError, MlflowException) as error:
        raise WorkError(f"MLflow does not have {what}: {error}") from error
