"""`elboflow publish`: a version of the compiled pipeline, kept by the platform."""

from typing import Annotated

import typer

from pipelines.commands.options import PLATFORMS, EnvOption, ExperimentArgument, JsonOption, PlatformOption, SetOption
from pipelines.commands.outcome import pasteable, show_log, tell


def publish(
    experiment: ExperimentArgument,
    target: PlatformOption,
    version: Annotated[
        str | None,
        typer.Option(help="The version, such as v1.0.0; by default of the project's version and the content."),
    ] = None,
    assignments: SetOption = None,
    env: EnvOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish the compiled pipeline as a version that never changes, for `run` and `schedule create --release`."""
    import json
    from dataclasses import asdict

    from elboflow.settings import RequestError

    if target not in PLATFORMS:
        raise RequestError(f"--target {target}: no platform to publish on; allowed: {', '.join(PLATFORMS)}")
    from pipelines import releases
    from pipelines.experiment import load

    wanted = load(experiment, assignments or (), env)
    show_log()
    release = releases.publish(wanted, target, version)
    what = "published" if release.published else "there already, with the same pipeline:"
    tell(f"{what} {release.experiment} {release.version}, sha256 {release.digest}")
    options = ["--env", env] if env else []
    tell(f"run it: {pasteable('run', experiment, '--target', target, *options, '--release', release.version)}")
    print(json.dumps(asdict(release)) if as_json else release.reference)
