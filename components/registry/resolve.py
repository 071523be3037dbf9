"""MODEL, as a person writes it on a command line → the model folder on this machine.

MODEL is one of

    path/to/model               a model folder
    path/to/run, RUN            a run, by its folder or by its name in the workspace
    models:/digits-vae@champion a registered version, by its alias
    models:/digits-vae/3        a registered version, by its number
    runs:/ID                    the model of an MLflow run
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from components.registry import versions
from components.tracking import databases, readable, store
from components.tracking.store import quoted
from elboflow.settings import RequestError
from elboflow.settings.explain import nearest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

_PREFIX = "models:/"
_DEPTH = 4  # runs/RUN/PIPELINE/STEP/model is the deepest
_FORMS = "a model folder, a run, models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID"


def resolve(model: str, runs: Path, tracking_uri: str) -> Path:
    """Returns the model folder that MODEL stands for; it is downloaded where MLflow's files are on a server.

    Args:
        model: MODEL.
        runs: The folder of the workspace's runs.
        tracking_uri: The MLflow of `models:/` and `runs:/`.

    Raises:
        RequestError: There is no such model; the message lists those that there are.
        WorkError: MLflow cannot be used, or does not have the model's files any more.
    """
    scheme, slashed, rest = model.partition(":/")
    if slashed and scheme in ("models", "runs"):
        client = existing(tracking_uri, model)
        with store.explained(tracking_uri):
            if scheme == "runs":
                return _of_run(client, rest)
            found = version_of(client, model)
            return versions.model_folder(f"models:/{found.name}/{found.version}")
    for folder in (Path(model), runs / model):
        if (folder / "model.json").is_file():
            return folder
        if folder.is_dir() and (found := _newest(folder)):
            return found
    if (runs / model).is_dir() or Path(model).is_dir():
        raise RequestError(f"{model!r} holds no finished model: no model.json in it or below it")
    names = sorted(path.name for path in runs.iterdir() if _newest(path)) if runs.is_dir() else []
    have = nearest(model, names) if names else f"{runs} holds no run with a finished model"
    raise RequestError(f"there is no model {model!r}; MODEL is {_FORMS}. Runs: {have}")


def version_of(client: "MlflowClient", uri: str) -> "ModelVersion":
    """Returns the version that `models:/NAME/VERSION` or `models:/NAME@ALIAS` stands for; the prefix may be left out.

    Raises:
        RequestError: There is no such version; the message lists those that there are.
    """
    rest = uri.removeprefix(_PREFIX)
    name, _, alias = rest.partition("@")
    number = ""
    if not alias:
        name, _, number = rest.rpartition("/")
    if not name or not (alias or number):
        raise RequestError(f"{uri!r} names no version; write models:/NAME@ALIAS or models:/NAME/VERSION")
    model = model_of(client, name)
    aliases = {alias: str(number) for alias, number in model.aliases.items()}
    if alias:
        if alias not in aliases:
            _absent(f"{name} has no version with the alias {alias!r}", alias, sorted(aliases))
        number = aliases[alias]
    there = {str(version.version): version for version in versions_of(client, name)}
    if number not in there:
        _absent(f"{name} has no version {number!r}", number, sorted(there, key=int))
    return there[number]


def model_of(client: "MlflowClient", name: str) -> "RegisteredModel":
    """Returns a registered model.

    Raises:
        RequestError: There is none of that name; the message lists those that there are.
    """
    from mlflow import MlflowException

    try:
        return client.get_registered_model(name.removeprefix(_PREFIX))
    except MlflowException:
        names = [model.name for model in client.search_registered_models()]
        _absent(f"there is no registered model {name!r}", name, names)


def versions_of(client: "MlflowClient", name: str) -> "list[ModelVersion]":
    """Returns the versions of a registered model, the newest first."""
    found = client.search_model_versions(f"name = {quoted(name)}", max_results=10_000)
    return sorted(found, key=lambda version: int(version.version), reverse=True)


def _newest(run: Path) -> Path | None:
    """Returns the model folder in a run's folder, the newest of several."""
    # Of bounded depth: a mistaken path may be a whole disk.
    manifests = [path for depth in range(_DEPTH) for path in run.glob("*/" * depth + "model.json")]
    return max(manifests, key=lambda path: path.stat().st_mtime).parent if manifests else None


def existing(tracking_uri: str, what: str) -> "MlflowClient":
    """Returns a client of an MLflow that is only read, and that is not made for it.

    Args:
        tracking_uri: Its address.
        what: What is looked for in it, for the message.

    Raises:
        RequestError: There is none.
        WorkError: It cannot be used.
    """
    database = databases.file_of(tracking_uri)
    if database and not database.is_file():
        raise RequestError(f"{what} is in MLflow, and there is no MLflow at {database} yet; `elboflow run` makes one")
    return readable.connect(tracking_uri)


def _of_run(client: "MlflowClient", run_id: str) -> Path:
    from mlflow import MlflowException

    try:
        run = client.get_run(run_id.strip("/"))
    except MlflowException as error:
        raise RequestError(f"there is no MLflow run {run_id!r}: {error.message}") from None
    models = run.outputs.model_outputs if run.outputs else []
    if not models:
        raise RequestError(f"the MLflow run {run_id!r} ({run.info.run_name}) holds no model")
    return versions.model_folder(f"models:/{models[-1].model_id}")


def _absent(what: str, word: str, there: Sequence[str]) -> NoReturn:
    raise RequestError(f"{what}; " + (nearest(word, there) if there else "there are none"))
