"""The MLflow that a command reads or writes, and the option `--tracking-uri`, which names it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elboflow.settings import RequestError
from elboflow.settings.variables import TRACKING_URI
from pipelines.commands.options import name_of

if TYPE_CHECKING:
    from mlflow import MlflowClient


def _address(parameter: typer.CallbackParam, value: str | None) -> str | None:
    """The callback of the address of an MLflow: a server, or a database."""
    from elboflow.settings.locations import of_mlflow

    try:
        return None if value is None else of_mlflow(value)
    except ValueError as error:
        raise RequestError(f"{name_of(parameter)}: {error}") from None


_NAMED = f"${TRACKING_URI}'s, $MLFLOW_TRACKING_URI's"


def _tracking_option(help: str) -> Any:
    return typer.Option("--tracking-uri", metavar="URI", help=help, callback=_address)


TrackingOption = Annotated[
    str | None, _tracking_option(f"The MLflow; by default the experiment's, {_NAMED} or the workspace's own.")
]
StoreOption = Annotated[str | None, _tracking_option(f"The MLflow; by default {_NAMED} or the workspace's own.")]
KeptOption = Annotated[
    str | None,
    _tracking_option(
        f"The MLflow server of all its runs; by default the experiment's, else, when a run is launched, {_NAMED} or "
        "the workspace's own."
    ),
]
LaunchedOption = Annotated[
    str | None,
    _tracking_option(f"The MLflow of runs whose schedule keeps none; by default {_NAMED} or the workspace's own."),
]
RecordedOption = Annotated[str | None, _tracking_option("The MLflow; by default the one in which the run is recorded.")]
CurvesOption = Annotated[
    str | None, _tracking_option(f"The MLflow of the curves; by default the experiment's, {_NAMED}, or none.")
]


def recorded_in(tracking_uri: str | None, assignments: list[str] | None, target: str) -> list[str]:
    """Has a run and its processes use the MLflow that --tracking-uri names; returns the run's assignments.

    It is named in the environment: it may hold a password, which no experiment may hold.

    Raises:
        RequestError: The run is on a platform, whose steps reach another network.
    """
    if tracking_uri is None:
        return assignments or []
    use(tracking_uri, target)
    return [*(assignments or ()), "targets.local.tracking_uri=null"]


def use(tracking_uri: str | None, target: str = "local") -> None:
    """Has this process and those that it starts use the MLflow that --tracking-uri names, unless an experiment does.

    Raises:
        RequestError: It is given for a run on a platform.
    """
    if tracking_uri is not None:
        _must_be_here(target)
        os.environ[TRACKING_URI] = tracking_uri


def kept(tracking_uri: str | None, assignments: list[str] | None, target: str) -> list[str]:
    """Returns the assignments of an experiment that a schedule keeps, with the MLflow that --tracking-uri names.

    Raises:
        RequestError: It is given for a schedule on a platform, or it cannot be part of an experiment.
    """
    if tracking_uri is None:
        return assignments or []
    from components.surroundings.masking import without_userinfo

    _must_be_here(target)
    if not tracking_uri.startswith(("http://", "https://")) or without_userinfo(tracking_uri) != tracking_uri:
        raise RequestError(
            "--tracking-uri: a schedule keeps http://… or https://… without name and password; any other MLflow is "
            "named where its runs are launched: elboflow scheduler --tracking-uri URI"
        )
    return [*(assignments or ()), f"targets.local.tracking_uri={tracking_uri}"]


def _must_be_here(target: str) -> None:
    if target != "local":
        raise RequestError(
            f"--tracking-uri: is of runs on this machine; that of {target} is targets.{target}.tracking_uri"
        )


@contextmanager
def reading(what: str, workspace: Path, option: str | None) -> "Iterator[tuple[MlflowClient, str]]":
    """Yields a client of an MLflow and its address; nothing is made.

    Args:
        what: What is looked for in it, for messages.
        workspace: The workspace whose own MLflow it is, if none is named.
        option: What --tracking-uri names.

    Raises:
        RequestError: There is no such MLflow.
        WorkError: It cannot be used.
    """
    from components.registry import resolve
    from components.tracking import store
    from pipelines.commands import workspaces
    from pipelines.targets.local.surroundings import tracking_uri

    uri = tracking_uri(None, workspaces.found(workspace), option)
    client = resolve.existing(uri, what)
    with store.explained(uri):
        yield client, uri


@contextmanager
def writing(what: str, workspace: Path, option: str | None) -> "Iterator[MlflowClient]":
    """Yields a client of an MLflow in which nothing else is registered meanwhile, as far as it can be locked."""
    from components.tracking import store

    with reading(what, workspace, option) as (_, uri), store.exclusive(uri):
        yield store.connect(uri)
