"""Which raw data the steps of a platform, or in containers, can read: in a bucket, or in what they mount."""

from pathlib import Path, PurePosixPath
from typing import Literal

from elboflow.settings import RequestError
from pipelines.experiment import Experiment
from pipelines.experiment.kubeflow import KubeflowTarget
from pipelines.experiment.vertex import VertexTarget
from preprocessing.files import is_uri

_BUCKETS = PurePosixPath("/gcs")  # where Vertex AI shows its steps all buckets


def require_readable(experiment: Experiment, target: Literal["kubeflow", "vertex"]) -> None:
    """Looks whether the steps of a target can read the source of an experiment, as far as its location tells.

    Raises:
        RequestError: They cannot; it names the key, and what to write.
    """
    for key, location in experiment.data.source.locations.items():
        if reason := _unreadable(experiment, target, location):
            raise RequestError(f"data.source.{key}: {location} is a path that {reason}")


def require_mounted(experiment: Experiment, *folders: Path) -> None:
    """Looks whether containers of this machine, which mount these folders alone, can read the source.

    Raises:
        RequestError: They cannot.
    """
    for key, location in experiment.data.source.locations.items():
        path = Path(location).expanduser().resolve()
        if not is_uri(location) and not any(path.is_relative_to(folder.resolve()) for folder in folders):
            raise RequestError(
                f"data.source.{key}: {location} is a path that no container sees; they see this folder and the "
                "workspace: copy the data into one of them, or run without --docker"
            )


def _unreadable(experiment: Experiment, target: str, location: str) -> str | None:
    if is_uri(location):
        return None
    path = PurePosixPath(location)
    if target == "vertex":
        return _unreadable_on_vertex(path, experiment.targets.vertex)
    return _unreadable_on_kubeflow(path, experiment.targets.kubeflow)


def _unreadable_on_vertex(path: PurePosixPath, settings: VertexTarget | None) -> str | None:
    if not path.is_relative_to(_BUCKETS):
        return "no step on Vertex AI can read; copy the data into a bucket, and write gs://BUCKET/NAME"
    if settings is not None and settings.runner.kind == "dataflow":
        return f"Dataflow's workers cannot read; write gs://{path.relative_to(_BUCKETS)}"
    return None


def _unreadable_on_kubeflow(path: PurePosixPath, settings: KubeflowTarget | None) -> str | None:
    volumes = settings.volumes if settings is not None else ()
    mounts = [volume.mount for volume in volumes if volume.is_for("preprocess")]
    if any(path.is_relative_to(mount) for mount in mounts) and ".." not in path.parts:
        return None
    there = f"these are mounted: {', '.join(mounts)}" if mounts else "none is mounted"
    return (
        "no step on Kubeflow can read; write gs://BUCKET/NAME, or a path below the mount of one of "
        f"targets.kubeflow.volumes ({there})"
    )
