"""Steps in containers of this machine: `run --docker`."""

import math
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.surroundings import servers
from elboflow.settings import RequestError, WorkError
from elboflow.settings.variables import AT_WORK, CHECKPOINTS, MESSAGE_SECRET, RUN, STEP_SECONDS
from pipelines.experiment import Experiment
from pipelines.targets.data import require_mounted
from pipelines.targets.local.executor import PATIENCE, arguments
from pipelines.targets.local.surroundings import threads
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

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


class Containers:
    """The containers of a run.

    The workspace, and the current folder, to read data by relative paths, are where they are on this machine.
    """

    def __init__(self, image: str, experiment: Experiment, workspace: Workspace, run: str) -> None:
        from docker.types import Mount

        here, place = str(Path.cwd()), str(workspace.folder)
        self._how = {
            "image": image,
            "mounts": [Mount(here, here, type="bind", read_only=True), Mount(place, place, type="bind")],
            "working_dir": here,
            "user": f"{os.getuid()}:{os.getgid()}",
            "init": True,
            "labels": {LABEL: run},
        }
        self._environment = {
            "HOME": "/tmp",
            RUN: run,
            MESSAGE_SECRET: os.environ[MESSAGE_SECRET],
            **{name: os.environ[name] for name in (AT_WORK, CHECKPOINTS) if name in os.environ},
            **threads(experiment),
        }

    def start(self, step: "BaseComponent", given: Mapping[str, Any]) -> "_Container":
        """Starts a step with an `ExecutorInput`, by the command that a pod would get.

        Raises:
            WorkError: The engine cannot run it.
        """
        import docker

        how = {
            **self._how,
            "name": f"elboflow-{step.name}-{uuid.uuid4().hex[:12]}",
            "command": [*step.component_spec.implementation.container.command, *arguments(step, given)],
            "environment": {**self._environment, STEP_SECONDS: os.environ[STEP_SECONDS]},
        }
        with _explained():
            client = docker.from_env()
            try:
                return _Container(client.containers.run(detach=True, **how))
            except BaseException:
                # Interrupted, or failed, before its id was known here: the engine may have created and started it.
                with suppress(WorkError), _explained():
                    client.api.remove_container(how["name"], force=True)
                raise


class _Container:
    """A step in a container."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def lines(self) -> Iterator[str]:
        rest = b""
        with _explained():
            for chunk in self._container.logs(stream=True, follow=True):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="backslashreplace") for line in lines)
        if rest:
            yield rest.decode(errors="backslashreplace")

    def wait(self) -> int:
        with _explained():
            code = int(self._container.wait()["StatusCode"])
            self._container.remove()
        return code

    def end(self) -> None:
        with _explained():
            self._container.stop(timeout=int(PATIENCE))
            self._container.remove(force=True)


@contextmanager
def _explained() -> Iterator[None]:
    """Turns errors of the engine, and of the connection to it, into a WorkError."""
    from docker.errors import DockerException
    from requests import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        said = getattr(error, "explanation", None) or str(error)
        raise WorkError(f"the Docker engine cannot run it: {str(said).partition(chr(10))[0]}") from error
