"""The arguments and options that several commands share."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from elboflow.settings import RequestError
from elboflow.settings.variables import WORKSPACE


def local(parameter: typer.CallbackParam, value: str | None) -> Path | None:
    """The callback of an argument or option that is a path of this machine; its parser is `str`.

    As an annotation alone, `Path` would take a URI for a path.
    """
    return None if value is None else Path(_location(parameter, value))


def target(parameter: typer.CallbackParam, value: str) -> str:
    """The callback of the name of a target."""
    from pipelines.targets import NAMES

    if value not in NAMES:
        raise RequestError(f"--target {value}: unknown target; allowed: {', '.join(NAMES)}")
    return value


def folder(parameter: typer.CallbackParam, value: str) -> Path:
    """The callback of a folder of this machine that need not exist yet: a workspace, an output."""
    path = Path(_location(parameter, value))
    with suppress(OSError):  # what cannot even be looked at is told when it is used
        if file := next((place for place in (path, *path.absolute().parents) if place.is_file()), None):
            raise RequestError(f"{name_of(parameter)}: {file} is a file, not a folder")
    return path


def named(parameter: typer.CallbackParam, value: str | None) -> str | None:
    """The callback of what is named by a word, or by a path of this machine: an experiment."""
    return None if value is None else _location(parameter, value)


def stored(parameter: typer.CallbackParam, value: str | None) -> str | None:
    """The callback of a dataset folder: a path of this machine, or a URI."""
    from preprocessing.files import SCHEMES

    return None if value is None else _location(parameter, value, *SCHEMES)


def model(parameter: typer.CallbackParam, value: str) -> str:
    """The callback of a model: a path of this machine, a run's name, or a URI of MLflow's."""
    from elboflow.settings.locations import scheme

    return value if scheme(value) in ("models", "runs") else _location(parameter, value)


def _location(parameter: typer.CallbackParam, value: str, *schemes: str) -> str:
    from elboflow.settings.locations import normalised

    try:
        return normalised(value, *schemes)
    except ValueError as error:
        raise RequestError(f"{name_of(parameter)}: {error}") from None


def name_of(parameter: typer.CallbackParam) -> str:
    """Returns a parameter as messages call it."""
    name = parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar
    return f"{name} (or ${parameter.envvar})" if parameter.envvar else str(name)


def experiments(incomplete: str) -> list[tuple[str, str]]:
    """Completes an experiment: the ready-made ones, and YAML files and folders of this machine."""
    from pipelines.experiment import text as source

    names = [(name, " ".join(source.parse(name, text).introduction[:1])) for name, text in source.ready_made().items()]
    folder = Path(incomplete).parent if not incomplete.endswith("/") else Path(incomplete)
    files = sorted(path for path in folder.glob("[!.]*") if path.suffix in (".yaml", ".yml") or path.is_dir())
    found = [*names, *((f"{path}{'/' if path.is_dir() else ''}", "") for path in files)]
    return [(name, meaning) for name, meaning in found if name.startswith(incomplete.removeprefix("./"))]


def targets(incomplete: str) -> list[str]:
    """Completes the name of a target."""
    return [name for name in ("local", *PLATFORMS) if name.startswith(incomplete)]


def platforms(incomplete: str) -> list[str]:
    """Completes the name of a target that takes a compiled pipeline."""
    return [name for name in targets(incomplete) if name in PLATFORMS]


ExperimentArgument = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT",
        help="A YAML file, or the name of a ready-made experiment.",
        callback=named,
        autocompletion=experiments,
    ),
]
OptionalExperimentArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="EXPERIMENT",
        help="A YAML file, or the name of a ready-made experiment.",
        callback=named,
        autocompletion=experiments,
        show_default=False,
    ),
]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model folder, a run, or an MLflow URI such as models:/digits-vae@champion.",
        callback=model,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one value of the experiment, such as training.epochs=5."),
]
DateOption = Annotated[
    str | None,
    typer.Option("--date", metavar="DATE", help="What {date} in data.source stands for, such as 2026-11-29; or today."),
]
EnvOption = Annotated[
    str | None, typer.Option("--env", metavar="ENV", help="Merge NAME.ENV.yaml, beside the experiment's file, over it.")
]
WorkspaceOption = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        envvar=WORKSPACE,
        help="The folder that holds everything local runs make.",
        parser=str,
        callback=folder,
    ),
]
DatasetOption = Annotated[
    str, typer.Option(metavar="DIR", help="A dataset folder, here or at gs://….", callback=stored)
]
OptionalDatasetOption = Annotated[
    str | None, typer.Option("--dataset", metavar="DIR", help="A dataset folder, here or at gs://….", callback=stored)
]
TargetOption = Annotated[
    str,
    typer.Option(metavar="TARGET", help="Where: local, kubeflow or vertex.", callback=target, autocompletion=targets),
]
PlatformOption = Annotated[
    str, typer.Option("--target", metavar="TARGET", help="The platform: kubeflow or vertex.", autocompletion=platforms)
]
ReleaseOption = Annotated[
    str | None, typer.Option(metavar="VERSION", help="Run what `elboflow publish` published as this version.")
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run, as `elboflow runs` lists it.")]
OfExperimentOption = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        metavar="EXPERIMENT",
        help="Whose `targets` says how to reach it; by default as the workspace was last used with it.",
        callback=named,
        autocompletion=experiments,
    ),
]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Start it, and do not follow it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="End with one JSON object on standard output.")]
DEFAULT_WORKSPACE = Path("elboflow-workspace")
PLATFORMS = ("kubeflow", "vertex")
"""The targets that take a compiled pipeline."""


def on_date(date: str | None, assignments: list[str] | None) -> list[str]:
    """Returns the assignments of an experiment, with the date that --date names."""
    from preprocessing import dates

    if date is None:
        return assignments or []
    return [*(assignments or ()), f"date='{dates.written(dates.read(date, '--date'))}'"]


def must_be_folders(*folders: Path | str) -> None:
    """Raises RequestError for a folder to read that is not there; one in a bucket is looked for when it is opened."""
    from elboflow.settings.locations import scheme

    for folder in folders:
        if scheme(str(folder)) is None and not Path(folder).is_dir():
            raise RequestError(f"{folder}: there is no such folder to read")


def must_be_apart(output: Path | str, *inputs: Path | str) -> None:
    """Raises RequestError for an output that is the folder of an input."""
    for given in inputs:
        if output == given or os.path.realpath(output) == os.path.realpath(given):
            raise RequestError(f"--output {output}: is the folder of what is read; the output needs another")
