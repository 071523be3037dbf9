"""Steps in containers of this machine, through KFP's own DockerRunner."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.surroundings import servers
from elboflow.settings import RequestError, WorkError
from elboflow.settings.variables import AT_WORK, MESSAGE_SECRET, RUN
from pipelines.experiment import Experiment
from pipelines.targets.data import require_mounted
from pipelines.targets.local.surroundings import threads
from pipelines.workspace import Workspace

LABEL = "elboflow.run"


def image(experiment: Experiment, workspace: Path) -> str:
    """Returns the image of the steps.

    Raises:
        RequestError: The experiment names none, its containers cannot read the source, or no Docker engine answers.
    """
    named = experiment.targets.local.image
    if named is None:
        raise RequestError("targets.local.image: missing; `--docker` runs the steps in it (infra/images/cpu makes one)")
    require_mounted(experiment, Path.cwd(), workspace)
    import docker
    from docker.errors import DockerException

    servers.introduce(os.environ.get("DOCKER_HOST", ""), "the Docker engine", math.inf)  # it streams the steps' logs
    try:
        client = docker.from_env(timeout=10)
        client.ping()
    except DockerException as error:
        raise RequestError(
            f"--docker: no Docker engine answers here ({str(error).partition(chr(10))[0]}); start one, or name it in "
            "$DOCKER_HOST, or run without --docker"
        ) from None
    return named


def runner(experiment: Experiment, workspace: Workspace, run: str) -> Any:
    """Returns KFP's runner. The workspace, and this folder, to read data by relative paths, are where they are here."""
    from docker.types import Mount
    from kfp import local

    here, place = str(Path.cwd()), str(workspace.folder)
    return local.DockerRunner(
        mounts=[Mount(here, here, type="bind", read_only=True), Mount(place, place, type="bind")],
        working_dir=here,
        user=f"{os.getuid()}:{os.getgid()}",
        environment={
            "HOME": "/tmp",
            RUN: run,
            MESSAGE_SECRET: os.environ[MESSAGE_SECRET],
            "PYTHONIOENCODING": "ascii:backslashreplace",  # KFP decodes pieces of lines, which may end within a letter
            **{name: os.environ[name] for name in (AT_WORK,) if name in os.environ},
            **threads(experiment),
        },
        init=True,
        labels={LABEL: run},
    )


@contextmanager
def explained() -> Iterator[None]:
    """Turns the errors of the engine and of the way there, which KFP lets pass, into a WorkError."""
    from docker.errors import DockerException
    from requests import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        said = getattr(error, "explanation", None) or str(error)
        raise WorkError(f"the Docker engine cannot run it: {str(said).partition(chr(10))[0]}") from error


def stop(run: str) -> None:
    """Ends the containers of a run."""
    import docker

    for container in docker.from_env().containers.list(filters={"label": f"{LABEL}={run}"}):
        container.stop(timeout=5)
