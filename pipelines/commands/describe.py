"""`elboflow experiments`, `init`, `config`, `compile`, `publish`: about experiments, without running any."""

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from elboflow.settings import RequestError
from pipelines.commands import options
from pipelines.commands.outcome import pasteable, show_log, tell


def experiments() -> None:
    """List the ready-made experiments."""
    from elboflow.settings.terminal import printable
    from pipelines.experiment import text as source

    texts = source.ready_made()
    width = max(map(len, texts))
    for name, text in texts.items():
        introduction = source.parse(name, text).introduction
        print(f"{name:{width}}  {printable(introduction[0] if introduction else '')}")


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new experiment's name.")],
    template: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="EXPERIMENT",
            help="What to start from.",
            callback=options.named,
            autocompletion=options.experiments,
        ),
    ] = "digits",
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The file to write; by default NAME.yaml.", parser=str, callback=options.local
        ),
    ] = None,
) -> None:
    """Write an experiment's YAML to edit, from a ready-made one or another file."""
    from pydantic import TypeAdapter, ValidationError

    from elboflow.settings import yaml_writing
    from pipelines.experiment import Name
    from pipelines.experiment import text as source

    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        rule = error.errors()[0]["msg"].removeprefix("Input should ")
        raise RequestError(f"{name}: a name must {rule}") from None
    text, replaced = re.subn(
        r"(?m)^name:.*$", yaml_writing.write({"name": name}).rstrip(), source.find(template).text, count=1
    )
    if not replaced:
        raise RequestError(f"{template}: has no line `name: …` to put the new name in")
    path = output or Path(f"{name}.yaml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RequestError(f"{path} exists already; choose another file with --output") from None
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}") from None
    tell(f"edit it, then: {pasteable('run', path)}")
    print(path)


def config(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="EXPERIMENT",
            help="A YAML file, or the name of a ready-made experiment; with --describe, a key or nothing.",
            callback=options.named,
            autocompletion=options.experiments,
        ),
    ] = None,
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
    diff: Annotated[bool, typer.Option("--diff", help="Print only what --env and --set change.")] = False,
    describe: Annotated[
        bool, typer.Option("--describe", help="Print what the settings mean: all, or those of a KEY.")
    ] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of experiments.")] = False,
) -> None:
    """Print the full, resolved experiment: every key with its value. Or what the keys mean."""
    from elboflow.settings import yaml_writing

    if describe or schema:
        if (describe and schema) or (schema and experiment) or assignments or env or diff:
            raise RequestError("--describe stands alone or with a KEY, and --schema alone")
        print(_described(experiment) if describe else _schema())
        return
    if experiment is None:
        raise RequestError("EXPERIMENT is missing: a YAML file, or the name of a ready-made experiment")
    from pipelines.experiment import load

    changed = load(experiment, assignments or (), env)
    if not diff:
        print(yaml_writing.write(changed.model_dump(mode="json")), end="")
        return
    from pipelines.experiment.differences import differences, show

    if env is None and not assignments:
        raise RequestError("--diff: nothing to compare with; give --env ENV, or --set KEY=VALUE")
    show(differences(experiment, changed))


def _described(key: str | None) -> str:
    from elboflow.settings.describe import describe
    from pipelines.experiment import schema

    return describe(schema(), key, shutil.get_terminal_size().columns)


def _schema() -> str:
    from pipelines.experiment import schema

    return json.dumps(schema(), indent=2, ensure_ascii=False)


def compile(
    experiment: options.ExperimentArgument,
    target: options.PlatformOption,
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="The YAML file to write.", parser=str, callback=options.local)
    ] = Path("pipeline.yaml"),
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
) -> None:
    """Write the pipeline as the IR YAML that Kubeflow Pipelines or Vertex AI takes."""
    from elboflow.artifacts import write_atomically
    from pipelines.experiment import load
    from pipelines.targets.submission import specification

    if target not in options.PLATFORMS:
        raise RequestError(f"--target {target}: no platform to compile for; allowed: {', '.join(options.PLATFORMS)}")
    show_log()
    wanted = load(experiment, assignments or (), env)
    text = specification(wanted, target)
    try:
        write_atomically(output, text)
    except OSError as error:
        raise RequestError(f"{output} cannot be written: {error.strerror}") from None
    print(output)


def publish(
    experiment: options.ExperimentArgument,
    target: options.PlatformOption,
    version: Annotated[
        str | None,
        typer.Option(help="The version, such as v1.0.0; by default of the project's version and the content."),
    ] = None,
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Publish the compiled pipeline as a version that never changes, for `run` and `schedule create --release`."""
    if target not in options.PLATFORMS:
        raise RequestError(f"--target {target}: no platform to publish on; allowed: {', '.join(options.PLATFORMS)}")
    from pipelines import releases
    from pipelines.experiment import load

    wanted = load(experiment, assignments or (), env)
    show_log()
    release = releases.publish(wanted, target, version)
    what = "published" if release.published else "there already, with the same pipeline:"
    tell(f"{what} {release.experiment} {release.version}, sha256 {release.digest}")
    environment = ["--env", env] if env else []
    tell(f"run it: {pasteable('run', experiment, '--target', target, *environment, '--release', release.version)}")
    print(json.dumps(asdict(release)) if as_json else release.reference)
