"""The raw data: whether they are there, and are what the experiment says."""

from typing import Literal

from elboflow.settings import RequestError, WorkError
from pipelines.experiment import Experiment
from pipelines.targets.checks import Check, Finding
from pipelines.targets.data import require_readable
from preprocessing.buckets import PATIENCE
from preprocessing.config import DataConfig
from preprocessing.files import is_uri


def check(experiment: Experiment, target: Literal["local", "kubeflow", "vertex"]) -> Check:
    """Returns the check of an experiment's data; a bucket may take longer than a file."""
    remote = any(is_uri(place) for place in experiment.data.source.locations.values())
    seconds = 3 * PATIENCE / 2 if remote else 15.0
    if target == "local":
        return Check("data", lambda: data(experiment.data), seconds)
    return Check("data", lambda: on_platform(experiment, target), seconds)


def data(config: DataConfig) -> Finding:
    """Reads the headers of the source, and its first examples."""
    from preprocessing.first_look import first_look  # it imports Beam

    try:
        seen = first_look(config)
    except (RequestError, WorkError) as error:
        return Finding("data", "ill", str(error), "see the message; nothing can be preprocessed before")
    if seen.doubts:
        return Finding("data", "unknown", seen.found, "; ".join(seen.doubts))
    return Finding("data", "well", seen.found)


def on_platform(experiment: Experiment, target: Literal["kubeflow", "vertex"]) -> Finding:
    """Checks that the steps of a platform can read the source, and the source itself where this machine can read it."""
    try:
        require_readable(experiment, target)
    except RequestError as error:
        return Finding("data", "ill", str(error), "write another location, or give the steps a way to this one")
    mounted = [place for place in experiment.data.source.locations.values() if not is_uri(place)]
    if mounted:
        found = f"{', '.join(mounted)}: a place that the steps see, and this machine does not"
        return Finding("data", "unknown", found, "look there by hand")
    return data(experiment.data)
