"""A step of a run of any target as it was: its experiment, the folders that it read, and what it ran with."""

import json
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from components.surroundings import environment
from components.surroundings.masking import MASK
from components.sweep.trial import Candidate
from elboflow.artifacts import load, withdraw, write_atomically
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import RequestError, WorkError
from elboflow.settings.locations import scheme
from pipelines.experiment import Experiment
from pipelines.step_process import messages
from pipelines.sweeps.candidates import candidate
from pipelines.targets import RunState
from preprocessing import files

READS: Mapping[str, tuple[str, ...]] = {
    "preprocess": (),
    "train": ("dataset",),
    "evaluate": ("dataset", "model"),
    "register": ("dataset", "model", "evaluation"),
}
"""What the steps of the pipeline that trains read, by the options of `elboflow step`."""
_SECTIONS = {"architecture": "model", "training": "training", "settings": "evaluation", "registry": "registry"}
"""The section of the experiment of each input of a step."""
_NAMED = 8
"""Trials of a sweep that a message names."""


@dataclass(frozen=True)
class RecordedStep:
    """A step of a run.

    Attributes:
        experiment: The experiment as the step had it, as JSON values.
        inputs: The folders that it read, by name; empty where its log is gone.
        environment: What it ran with (`components.surroundings.environment`); None where it did not say.
        image: The image that it ran in; None for a process of a machine.
        trials: What varied in the trials of a sweep, by dotted key, where the step was a trial; empty otherwise.
    """

    experiment: dict[str, Any]
    inputs: Mapping[str, str]
    environment: Mapping[str, Any] | None
    image: str | None = None
    trials: tuple[Mapping[str, Any], ...] = ()


@runtime_checkable
class Platform(Protocol):
    """The part of a platform's client that is asked. The client of this machine, which compiles nothing, has it not."""

    name: str

    def logs(self, id: str, step: str | None = None) -> Iterable[str]: ...
    def compiled(self, id: str) -> dict[str, Any]:
        """Returns the `PipelineSpec` of a run as JSON values; empty where it is not known."""


def on_platform(platform: Platform, run: RunState, step: str) -> RecordedStep:
    """Returns a step of a run of a platform, from the run's compiled pipeline and the step's log.

    Raises:
        RequestError: The run has no such step, or its pipeline is of another kind.
        WorkError: The platform did not answer.
    """
    specification = platform.compiled(run.id)
    given, component = _task(specification, step)
    experiment = given.get("experiment") or _task(specification, "finish")[0].get("experiment")
    if not isinstance(experiment, str) or not given:
        raise RequestError(f"the run {run.id} of {platform.name} does not say with which settings it ran {step}")
    lines = list(platform.logs(run.id, step))
    tries = messages.executor_inputs(lines)
    last = tries[-1] if tries else {}
    values = as_given(json.loads(experiment), {**given, **parameters(last)})
    if _task(specification, "resolve-date")[1] and _task(specification, "decide")[1]:
        # A run without a date of its own got that of its schedule, or of its day.
        decided = messages.executor_inputs(platform.logs(run.id, "decide"))
        values["date"] = (parameters(decided[-1]).get("date") if decided else None) or None
    inputs = last.get("inputs", {}).get("artifacts", {})
    uris = {name: inputs[name]["artifacts"][0]["uri"] for name in READS[step] if name in inputs}
    trials = tuple(json.loads(parameters(each)["values"]) for each in tries if "values" in parameters(each))
    return RecordedStep(values, uris, environment.told(lines), _image(specification, component), trials)


def parameters(executor_input: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the values that a step was started with, by name."""
    found: Mapping[str, Any] = executor_input.get("inputs", {}).get("parameterValues", {})
    return found


def as_given(experiment: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an experiment with the sections that a step was given, which in a sweep are those of the best trial."""
    whole = json.loads(given["experiment"]) if "experiment" in given else {}
    sections = {section: json.loads(given[name]) for name, section in _SECTIONS.items() if name in given}
    seed = {"seed": int(given["seed"])} if "seed" in given else {}  # KFP's numbers are floats
    return {**experiment, **whole, **sections, **seed}


def require_trial(recorded: RecordedStep, experiment: Experiment, assigned: Collection[str], run: str) -> None:
    """Raises RequestError for a trial of a sweep, if the command does not set what varied to the values of one.

    Args:
        experiment: The experiment of the command.
        assigned: The dotted keys that the command sets.
        run: The sweep.
    """
    wanted = Candidate({}, experiment.recorded()).digest
    for values in recorded.trials:
        if set(values) <= set(assigned) and candidate(recorded.experiment, values).digest == wanted:
            return
    if recorded.trials:
        named = list(dict.fromkeys(map(_assigned, recorded.trials)))
        more = f", or another of {len(named)}" if len(named) > _NAMED else ""
        raise RequestError(
            f"the run {run} is a sweep; say which of its trials, by its values: {', or '.join(named[:_NAMED])}{more}"
        )


def _assigned(values: Mapping[str, Any]) -> str:
    """Returns the options that set the values of a trial."""
    return " ".join(f"--set {shlex.quote(f'{key}={json.dumps(value)}')}" for key, value in values.items())


def require_date(experiment: Experiment, run: str) -> None:
    """Raises WorkError for an experiment of dated data without a date, which today's would not repeat."""
    if experiment.data.source.is_dated and experiment.date is None:
        raise WorkError(f"the log of {run} does not say of which date its data were; give it: --date DATE")


def _task(specification: Mapping[str, Any], step: str) -> tuple[dict[str, Any], str]:
    """Returns the constants that a task is given, by name, and the name of its component; empty if there is none."""
    components = specification.get("components", {})
    for part in (specification.get("root", {}), *components.values()):
        task = part.get("dag", {}).get("tasks", {}).get(step)
        if task is not None:
            parameters = task.get("inputs", {}).get("parameters", {})
            constants = {name: value.get("runtimeValue", {}).get("constant") for name, value in parameters.items()}
            return {name: value for name, value in constants.items() if value is not None}, task["componentRef"]["name"]
    return {}, ""


def _image(specification: Mapping[str, Any], component: str) -> str | None:
    """Returns the image of a step: its container's, or that of the machines of its custom job."""
    found = specification.get("components", {}).get(component, {})
    pools = found.get("inputDefinitions", {}).get("parameters", {}).get("worker_pool_specs", {}).get("defaultValue")
    if pools:
        return str(pools[0]["container_spec"]["image_uri"])
    executors = specification.get("deploymentSpec", {}).get("executors", {})
    image = executors.get(found.get("executorLabel"), {}).get("container", {}).get("image")
    return None if image is None else str(image)


def require_no_mask(recorded: RecordedStep, run: str) -> None:
    """Raises RequestError for settings in which a secret was masked when they were recorded."""
    if MASK in json.dumps(recorded.experiment):
        raise RequestError(f"the experiment of the run {run} held a secret, which is not kept; give the step by hand")


def fetched(kind: str, uri: str, folder: Path) -> str:
    """Returns where a folder that a step read can be read here; a model or an evaluation in a bucket is copied.

    Args:
        kind: dataset, model or evaluation.
        uri: The folder, as the step was given it.
        folder: Where a copy goes.

    Raises:
        RequestError: It is somewhere that this machine cannot read, or is gone.
        WorkError: It is damaged, or the bucket does not answer.
    """
    place = scheme(uri)
    if place is None:
        if not Path(uri).is_dir():
            raise RequestError(f"{uri}: the {kind} that the step read is gone; another place: --{kind} DIR")
        return uri
    if place not in files.SCHEMES:
        raise RequestError(
            f"{uri}: the {kind} that the step read is in a store of the cluster, which this machine cannot read; copy "
            f"it here, and give --{kind} DIR"
        )
    if kind == "dataset":
        return uri  # which is read where it is
    name = f"{kind}.json"
    if not files.exists(files.join(uri, name)):
        raise RequestError(f"{uri}: the {kind} that the step read is gone; another place: --{kind} DIR")
    withdraw(folder, kind)
    with temporary_folder() as incoming:
        with files.open_to_read(files.join(uri, name)) as file:
            manifest = file.read()
        write_atomically(incoming / name, manifest)
        listed = load(incoming, kind)["files"]  # whose names are checked
    for each in listed:
        with files.open_to_read(files.join(uri, each)) as file:
            write_atomically(folder / each, file.read())
    write_atomically(folder / name, manifest)  # last; who reads the folder compares every file with it
    return str(folder)


def told_differences(recorded: RecordedStep) -> list[str]:
    """Returns what differs here from where the step ran, a sentence each."""
    found = [] if recorded.image is None else [f"image: {recorded.image} there, this machine's own Python here"]
    if recorded.environment is None:
        return [*found, "code and packages: the step did not say which it had"]
    return [*found, *environment.differences(recorded.environment, environment.environment())]


def require_inputs(inputs: Mapping[str, str], step: str, run: str) -> None:
    """Raises WorkError for an input that the log of a step does not name."""
    for name in READS[step]:
        if name not in inputs:
            raise WorkError(f"the log of {step} of {run} does not say which {name} it read; give it: --{name} DIR")
