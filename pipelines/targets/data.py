"""What is refused of an experiment's data before it is submitted: files that the steps cannot read, and secrets."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from components.surroundings.masking import variable_in
from elboflow.settings import RequestError
from pipelines.experiment import Experiment
from pipelines.experiment.kubeflow import KubeflowTarget
from pipelines.experiment.vertex import VertexTarget
from preprocessing.files import is_uri

_BUCKETS = PurePosixPath("/gcs")  # where Vertex AI shows its steps all buckets


def require_readable(experiment: Experiment, target: Literal["kubeflow", "vertex"]) -> None:
    """Raises RequestError, with the key and what to write, for a source that the steps of a target cannot read."""
    for key, location in experiment.data.source.locations.items():
        if reason := _unreadable(experiment, target, location):
            raise RequestError(f"data.source.{key}: {location} is a path that {reason}")


def require_mounted(experiment: Experiment, *folders: Path) -> None:
    """Raises RequestError for a source that containers of this machine, with these folders mounted, cannot read."""
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


if TYPE_CHECKING:
    from pipelines.experiment import Experiment

COMPILED = "the compiled pipeline would show it to all who see its runs"


def require_no_secret(experiment: Experiment | Mapping[str, Any], disclosure: str = COMPILED) -> None:
    """Looks whether an experiment holds a secret that is known here, such as in the path of its data.

    The steps need the experiment as it is: what is hidden in it could not be read, and what is not is shown to all.

    Raises:
        RequestError: It does; it names the key, the variable, and what would disclose the secret.
    """
    values = experiment if isinstance(experiment, Mapping) else experiment.model_dump(mode="json")
    for key, text in _texts(values, ""):
        if (variable := variable_in(text)) is not None:
            raise RequestError(
                f"{key}: holds the value of ${variable}, a secret, and {disclosure}; take it out, or unset "
                f"${variable} here if it is none"
            )


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{key}.{number}")
