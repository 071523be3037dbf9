"""Runs that begin in the middle: of a run that failed, or of an earlier run whose first steps are to serve again."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.binding.recorded import experiment_digest
from components.surroundings.masking import MASK
from elboflow.artifacts import DamagedError
from elboflow.settings import RequestError
from pipelines.experiment import Experiment, load
from pipelines.graphs import Graph
from pipelines.targets import require_failed
from pipelines.targets.local import artifacts
from pipelines.targets.local.artifacts import Artifact
from pipelines.targets.local.record import EXPERIMENT, Record, read
from pipelines.workspace import Workspace

logger = logging.getLogger("elboflow.run")

_DECIDE: Mapping[str, tuple[str, ...]] = {
    "preprocess": ("data",),
    "train": ("data", "model", "training", "seed"),
    "evaluate": ("data", "model", "training", "seed", "evaluation"),
}
"""The sections of the experiment that the outputs of a step and of those before it are a function of."""


@dataclass(frozen=True)
class Part:
    """A part of a pipeline.

    Attributes:
        kept: The artifacts of the steps before it, by the names of the steps.
        until: Its last step; None for all that follow.
        cache: Whether what an earlier run made of the same inputs, settings and code may serve again.
        announced: Whether a process of its own makes the run in MLflow at once. Otherwise the first step that writes to
            it does.
    """

    kept: Mapping[str, Mapping[str, Artifact]]
    until: str | None = None
    cache: bool = True
    announced: bool = True


WHOLE = Part({})


def part(graph: Graph, experiment: Experiment, workspace: Workspace, first: str | None, until: str | None) -> Part:
    """Returns the part of a pipeline from one step to another.

    What the earlier steps would make is taken from the newest run of the experiment in which they succeeded with the
    same settings.

    Args:
        graph: The pipeline.
        experiment: The experiment.
        workspace: Where earlier runs are.
        first: The first step to run; None for the first of all.
        until: The last; None for the last of all.

    Raises:
        RequestError: There is no such step, the last comes before the first, or no run has what the first one needs.
    """
    for option, step in {"--from": first, "--until": until}.items():
        if step is not None and step not in graph.steps:
            raise RequestError(f"{option} {step}: there is no such step; allowed: {', '.join(graph.steps)}")
    before = graph.steps[: graph.steps.index(first)] if first else ()
    if until in before:
        raise RequestError(f"--until {until}: comes before --from {first}")
    if not before:
        return Part({}, until)
    others = []
    for folder, record in _of_experiment(experiment, workspace):
        kept = kept_in(folder, before)
        if len(kept) < len(before):
            continue
        changed = _changed(folder, experiment, _DECIDE.get(before[-1], ()))
        if not changed:
            logger.info("from %s on, with what the run %s made before", first, record.run)
            return Part(kept, until)
        others.append(f"{record.run} differs in {', '.join(changed)}")
    found = f"; {others[0]}" if others else ""
    raise RequestError(
        f"--from {first}: no run of {experiment.name} in {workspace.folder} has finished {before[-1]} with these "
        f"settings{found}"
    )


def failed_part(
    graph: Graph, run: str, workspace: Workspace, assignments: Sequence[str] = ()
) -> tuple[Experiment, Part]:
    """Returns the experiment of a run that failed or was cancelled, and the part of it that is left to do.

    Args:
        graph: The pipeline.
        run: The run's name.
        workspace: Where it is.
        assignments: What is changed of the experiment.

    Raises:
        RequestError: There is no such run, it has not failed, or it cannot be repeated.
    """
    folder = workspace.runs / run
    record = read(folder) if Path(run).name == run else None
    if record is None:
        raise RequestError(f"there is no run {run!r} in {workspace.folder}; `elboflow runs` lists those there are")
    require_failed(record.state(folder))
    if record.planned != graph.steps:
        raise RequestError(f"the run {run} is a sweep; the same command again goes on with it")
    try:
        text = (folder / EXPERIMENT).read_text(encoding="utf-8")
    except OSError:
        raise RequestError(f"the run {run} is of an older version, which kept no experiment; run it again") from None
    if MASK in text:
        raise RequestError(f"the experiment of the run {run} held a secret, which is not kept; run it again")
    return load(str(folder / EXPERIMENT), assignments), Part(kept_in(folder, graph.steps))


def kept_in(folder: Path, steps: Sequence[str]) -> dict[str, Mapping[str, Artifact]]:
    """Returns the artifacts of a run's first steps, up to one that did not succeed or whose artifacts are gone."""
    found: dict[str, Mapping[str, Artifact]] = {}
    for step in steps:
        made = artifacts.kept(folder / step)
        if made is None or not all(Path(artifact.uri).exists() for artifact in made.values()):
            break
        found[step] = made
    return found


def _of_experiment(experiment: Experiment, workspace: Workspace) -> list[tuple[Path, Record]]:
    found = []
    for folder in workspace.runs.iterdir() if workspace.runs.is_dir() else ():
        try:
            record = read(folder)
        except DamagedError:  # `elboflow runs` says so
            continue
        if record is not None and record.experiment == experiment.name:
            found.append((folder, record))
    return sorted(found, key=lambda each: each[1].created, reverse=True)


def _changed(folder: Path, experiment: Experiment, sections: Sequence[str]) -> list[str]:
    """Returns the sections in which the experiment of a run differs from another."""
    now = experiment.recorded()
    try:
        then: dict[str, Any] = json.loads((folder / EXPERIMENT).read_text(encoding="utf-8"))
        changed = [key for key in sections if experiment_digest(then, [key]) != experiment_digest(now, [key])]
        dated = experiment.data.source.is_dated  # the section `data` holds the template
        return [*(["date"] if dated and then.get("date") != experiment.dated().date else []), *changed]
    except (OSError, ValueError, KeyError):
        return list(sections)
