"""The arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ExperimentArgument = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="A YAML file, or the name of a ready-made experiment.")
]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A model folder, a run, or an MLflow URI such as models:/digits-vae@champion."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one value of the experiment, such as training.epochs=5."),
]
EnvOption = Annotated[
    str | None,
    typer.Option("--env", metavar="ENV", help="Merge NAME.ENV.yaml, beside the experiment's file, over it."),
]
WorkspaceOption = Annotated[
    Path,
    typer.Option(metavar="DIR", envvar="ELBOFLOW_WORKSPACE", help="The folder that holds everything local runs make."),
]
TargetOption = Annotated[str, typer.Option(metavar="TARGET", help="Where: local, kubeflow or vertex.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run, as `elboflow runs` lists it.")]
OfExperimentOption = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        metavar="EXPERIMENT",
        help="Whose `targets` says how to reach it; by default as the workspace was last used with it.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="End with one JSON object on standard output.")]
DEFAULT_WORKSPACE = Path("elboflow-workspace")
PLATFORMS = ("kubeflow", "vertex")
"""The targets that take a compiled pipeline."""


def must_be_folders(*folders: Path) -> None:
    """Looks, before anything is started, whether the folders that a command is to read are there.

    Raises:
        RequestError: One is not.
    """
    from settings import RequestError

    for folder in folders:
        if not folder.is_dir():
            raise RequestError(f"{folder}: there is no such folder to read")
