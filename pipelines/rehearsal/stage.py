"""The stage of a rehearsal: doubles of the platform, and the production experiment with their addresses put in."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from elboflow.testing.platforms import clock
from elboflow.testing.platforms.google_identity import GoogleIdentity
from elboflow.testing.platforms.kubeflow import KubeflowServer
from elboflow.testing.platforms.storage import StorageServer
from elboflow.testing.platforms.vertex import VertexServer
from pipelines.connect import connect
from pipelines.experiment import Experiment
from pipelines.experiment.smoke import reduced
from pipelines.rehearsal.credentials import Credentials, of_kubeflow
from pipelines.targets import Target
from pipelines.workspace import Workspace

SAMPLES = "rehearsal-samples"
"""The folder of a bucket that holds the samples of the source."""
_QUICK = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # it compiles longer than it computes


@dataclass(frozen=True)
class Stage:
    """A stage.

    Attributes:
        production: The experiment as it is, but for the addresses of the platform.
        small: The same on little data, on this machine's processors; None without data that it can read here.
        server: The double of the platform.
        connect: Returns the real client, connected with it, as each command has one of its own.
        credentials: Those of the client.
        samples: The files that stand for the source.
    """

    production: Experiment
    small: Experiment | None
    server: Any
    connect: Callable[[], Target]
    credentials: Credentials
    samples: tuple[Path, ...] = ()


@contextmanager
def stage(
    experiment: Experiment, target: str, workspace: Workspace, samples: Mapping[str, Path], executes: bool
) -> Iterator[Stage]:
    """Yields a stage, and takes it away with its processes.

    Args:
        samples: Files that stand for the locations of the source, by their keys.
        executes: Whether steps are to do their work, if they can; without, no MLflow is started.
    """
    from elboflow.testing.mlflow_server import serving

    folder, before = workspace.folder, dict(os.environ)
    can_execute = executes and all(key in samples for key in experiment.data.source.locations)
    with ExitStack() as open_now:
        open_now.callback(_restore, before)
        open_now.callback(clock.move_to, None)
        bucket = _bucket(experiment)
        storage = open_now.enter_context(StorageServer(folder / "buckets", bucket))
        mlflow = ""
        if can_execute:
            (folder / "mlflow").mkdir()
            mlflow = open_now.enter_context(serving(folder / "mlflow"))
        given = {**_QUICK, "STORAGE_EMULATOR_HOST": storage.url}
        server, address, credentials = _platform(open_now, experiment, target, folder, storage, given)
        production = _changed(experiment, target, address)
        files = {key: storage.folder / bucket / SAMPLES / path.name for key, path in samples.items()}
        for key, file in files.items():
            file.parent.mkdir(exist_ok=True)
            shutil.copyfile(samples[key], file)
        places = {key: f"gs://{bucket}/{SAMPLES}/{file.name}" for key, file in files.items()}
        small = _small(experiment, target, address, mlflow, places) if can_execute else None
        client = partial(connect, target, production, workspace)
        yield Stage(production, small, server, client, credentials, tuple(files.values()))


def _restore(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _bucket(experiment: Experiment) -> str:
    vertex = experiment.targets.vertex
    return "rehearsal" if vertex is None else vertex.root.removeprefix("gs://").partition("/")[0]


def _platform(
    open_now: ExitStack,
    experiment: Experiment,
    target: str,
    folder: Path,
    storage: StorageServer,
    given: dict[str, str],
) -> tuple[Any, dict[str, Any], Credentials]:
    """Starts the double of a platform; returns it, what the target's section says to reach it, and the credentials."""
    if target == "kubeflow":
        cluster = open_now.enter_context(KubeflowServer(folder / "kubeflow", storage, environment=given))
        wanted = experiment.targets.kubeflow
        assert wanted is not None
        cluster.timezone, cluster.version = wanted.timezone, "2.17.1"
        for secret in wanted.secrets.values():
            cluster.secrets.setdefault(secret.name, {})[secret.key] = "rehearsed"
        credentials = of_kubeflow(open_now, wanted, cluster, folder)
        given_away = {} if credentials.tokens is not None else {"credentials": {"kind": "none"}}
        return cluster, {"host": cluster.url, **given_away}, credentials
    project = experiment.targets.vertex
    assert project is not None
    identity = open_now.enter_context(GoogleIdentity(folder))
    made = VertexServer(
        folder / "vertex",
        storage,
        project=project.project,
        location=project.location,
        environment=given,
        identity=identity,
    )
    server = open_now.enter_context(made)
    os.environ |= {"REQUESTS_CA_BUNDLE": str(server.certificate), "GOOGLE_APPLICATION_CREDENTIALS": str(identity.file)}
    os.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING"] = server.url
    address = {"endpoint": server.address, "credentials": {"kind": "default"}}
    return server, address, Credentials(identity.tokens)


def _changed(experiment: Experiment, target: str, address: Mapping[str, Any]) -> Experiment:
    values = experiment.model_dump(mode="json")
    values["targets"][target] |= address
    return Experiment.model_validate(values)


def _small(
    experiment: Experiment, target: str, address: Mapping[str, Any], mlflow: str, places: Mapping[str, str]
) -> Experiment:
    """Returns the experiment of the nights whose steps do their work, without machines, secrets and volumes."""
    values = reduced(experiment).model_dump(mode="json")
    section = experiment.model_dump(mode="json")["targets"][target]
    kept = {"project", "location", "root", "image", "namespace", "timezone"}
    values["targets"][target] = {key: value for key, value in section.items() if key in kept}
    values["targets"][target] |= {**address, "tracking_uri": mlflow}
    values["data"]["source"] |= places
    values["date"] = None
    return Experiment.model_validate(values)
