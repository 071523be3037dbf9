"""`elboflow step … --from-run RUN`: the settings and the folders of a step of a run, of any target, for one here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elboflow.settings import RequestError
from pipelines.commands import workspaces
from pipelines.commands.outcome import tell
from pipelines.commands.target_runs import ChosenTarget, found_run

if TYPE_CHECKING:
    from pipelines.experiment import Experiment
    from pipelines.targets.recorded_step import RecordedStep

SEARCH = "search"
"""The step of a sweep on this machine in which its trials are trained."""

FromRunOption = Annotated[
    str | None,
    typer.Option(
        "--from-run",
        metavar="RUN",
        help="With the settings and the inputs that this step had in a run; EXPERIMENT then only says how to reach "
        "its target.",
    ),
]


@dataclass(frozen=True)
class Asked:
    """What a command says of a step that is to be run here.

    Attributes:
        step: The step.
        experiment: EXPERIMENT; None where it is left out.
        given: The folders that the command names, by the options' names; None for one that is left out.
    """

    step: str
    experiment: str | None
    assignments: Sequence[str]
    env: str | None
    given: Mapping[str, Path | str | None]


def resolved(asked: Asked, run: str | None, target: str, workspace: Path) -> "tuple[Experiment, dict[str, str]]":
    """Returns the experiment of a step, and the folders that it reads: as the command says, or as a run had them.

    Raises:
        RequestError: Something is missing, or the run's step cannot be repeated here.
        WorkError: The platform or the bucket did not answer.
    """
    from pipelines.experiment import load

    if run is not None:
        return _of_run(asked, ChosenTarget(target, asked.experiment, asked.env, workspace), run)
    if target != "local":
        raise RequestError(f"--target {target}: says where the run of --from-run is, which is missing")
    if asked.experiment is None:
        raise RequestError("EXPERIMENT: missing; give one, or a run whose step is to be repeated: --from-run RUN")
    if absent := [f"--{name}" for name, folder in asked.given.items() if folder is None]:
        raise RequestError(
            f"{', '.join(absent)}: missing; give it, or a run whose step is to be repeated: --from-run RUN"
        )
    folders = {name: str(folder) for name, folder in asked.given.items()}
    return load(asked.experiment, asked.assignments, asked.env), folders


def _of_run(asked: Asked, chosen: ChosenTarget, word: str) -> "tuple[Experiment, dict[str, str]]":
    from elboflow.artifacts import lock
    from elboflow.artifacts.temporary import temporary_folder
    from pipelines.experiment import load
    from pipelines.targets import recorded_step
    from pipelines.workspace import Workspace

    run = found_run(chosen.target, word)
    if isinstance(chosen.target, recorded_step.Platform):
        recorded = recorded_step.on_platform(chosen.target, run, asked.step)
    else:
        recorded = _here(chosen, run.id, asked.step)
    recorded_step.require_no_mask(recorded, run.id)
    inputs = {**recorded.inputs, **{name: str(folder) for name, folder in asked.given.items() if folder is not None}}
    recorded_step.require_inputs(inputs, asked.step, run.id)
    with temporary_folder() as folder:
        file = folder / "experiment.json"  # JSON is YAML
        file.write_text(json.dumps(recorded.experiment), encoding="utf-8")
        experiment = load(str(file), asked.assignments)
    assigned = [assignment.partition("=")[0].strip() for assignment in asked.assignments]
    recorded_step.require_trial(recorded, experiment, assigned, run.id)
    recorded_step.require_date(experiment, run.id)
    place = Workspace(chosen.workspace.resolve()).fetched / run.id
    folders = {name: recorded_step.fetched(name, uri, place / name) for name, uri in inputs.items()}
    lock.hold(place, patience=0)  # as long as this process reads it, `elboflow clean` takes it not
    tell(f"{asked.step} of {run.id} on {chosen.name}, again here:")
    for line in [*(f"{name}: {path}" for name, path in folders.items()), *recorded_step.told_differences(recorded)]:
        tell(f"  {line}")
    return experiment, folders


def _here(chosen: ChosenTarget, run: str, step: str) -> "RecordedStep":
    """Returns a step of a run of this machine, from its folder."""
    from components.surroundings import environment
    from components.sweep import trial
    from elboflow.artifacts import read_json
    from pipelines.step_process import messages
    from pipelines.targets.local import artifacts
    from pipelines.targets.local.record import EXPERIMENT
    from pipelines.targets.recorded_step import READS, RecordedStep, as_given, parameters

    folder = workspaces.found(chosen.workspace).runs / run
    try:
        experiment = read_json(folder / EXPERIMENT, dict)
    except FileNotFoundError:
        raise RequestError(f"the run {run} is of an older version, which kept no experiment") from None
    made = artifacts.of_run(folder)
    inputs = {name: made[name].uri for name in READS[step] if name in made}
    is_trial = step == "train" and (folder / SEARCH).is_dir()
    try:
        lines = list(chosen.target.logs(run, SEARCH if is_trial else step))
    except RequestError:  # the step was taken from an earlier run, or never begun
        lines = []
    given = parameters(next(reversed(messages.executor_inputs(lines)), {}))
    if not is_trial:
        return RecordedStep(as_given(experiment, given), inputs, environment.told(lines))
    folders = trial.of_run(Path(given["trials_root"]), run) if given else []
    if not folders:
        raise RequestError(f"the run {run} is a sweep, of whose trials none is left")
    return RecordedStep(
        experiment, inputs, environment.told(lines), trials=tuple(trial.read(each).values for each in folders)
    )
