"""A rehearsal from its beginning to its end."""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from elboflow.artifacts import lock
from elboflow.settings import RequestError, WorkError
from elboflow.settings.text import counted
from pipelines.experiment import Experiment
from pipelines.rehearsal import Flaw, Night
from pipelines.rehearsal.flaws import flaws
from pipelines.rehearsal.inventory import Inventory
from pipelines.rehearsal.look import Look
from pipelines.rehearsal.loops import loops
from pipelines.sweeps.candidates import Plan
from pipelines.targets.submission import job, sweep_job
from pipelines.timing import Timing
from pipelines.timing.calendar import check
from pipelines.workspace import open_to_write

logger = logging.getLogger("elboflow.rehearsal")

FOLDER = "rehearsal"
"""The folder of rehearsals in a workspace."""


@dataclass(frozen=True)
class Wanted:
    """What is to be rehearsed.

    Attributes:
        experiment: As it would run in production.
        target: `kubeflow` or `vertex`.
        timing: When it would run.
        if_changed: Whether nights without a change would be skipped.
        inventory: What exists at the platform.
        nights: How many; with 0 it is only looked at.
        seed: Decides in which nights the faults are planted.
        samples: Files that stand for the locations of the source, by their keys.
        executes: Whether steps do their work in some nights.
        sweep: A sweep of the experiment that is rehearsed after the nights; None for none.
    """

    experiment: Experiment
    target: str
    timing: Timing
    if_changed: bool
    inventory: Inventory
    nights: int
    seed: int
    samples: Mapping[str, Path]
    executes: bool
    sweep: Plan | None = None


def perform(wanted: Wanted, workspace: Path) -> Iterator[Night | Flaw]:
    """Yields what would break, and the nights as they pass.

    Raises:
        RequestError: The experiment does not run on the target, a sample is none of its source's, or the extra is
            missing.
    """
    section = getattr(wanted.experiment.targets, wanted.target)
    if section is None:
        raise RequestError(f"targets.{wanted.target}: missing; {wanted.experiment.name} does not run there")
    _check_samples(wanted)
    now = datetime.now(UTC)
    try:
        check(wanted.timing, now)
        look = Look(wanted.experiment, wanted.target, section, wanted.timing, wanted.if_changed, wanted.inventory, now)
        yield from flaws(look)
        jobs = [job(wanted.experiment, wanted.target, wanted.if_changed)]
        jobs += [] if wanted.sweep is None else [sweep_job(wanted.sweep, wanted.target)]
        for each in jobs:
            yield from loops(each.specification or "", wanted.target, section)
    except RequestError as error:
        yield _refused(error)
        return
    if wanted.nights:
        yield from _nights(wanted, workspace)


def _check_samples(wanted: Wanted) -> None:
    locations = wanted.experiment.data.source.locations
    for key, path in wanted.samples.items():
        if key not in locations:
            known = ", ".join(locations) or "none: it comes with a package"
            raise RequestError(f"--sample {key}=…: no location of data.source; its locations: {known}")
        if not path.is_file():
            raise RequestError(f"--sample {key}={path}: there is no such file")


def _refused(error: Exception) -> Flaw:
    where, _, found = str(error).partition(": ")
    return Flaw("refused", where, found, "no night: the schedule cannot be made", "see the message")


def _introduce(wanted: Wanted, executed: int) -> None:
    nights = counted(wanted.nights, "night")
    if executed:
        how = f"in {executed} the steps work, on so little data that their models say nothing of production's"
    else:
        how = "the steps work in none" + (" without --sample" if wanted.executes else "")
    logger.info("%s on a double of %s: %s", nights, wanted.target, how)


def _nights(wanted: Wanted, folder: Path) -> Iterator[Night | Flaw]:
    if any(find_spec(module) is None for module in ("trustme", "cryptography")):
        raise RequestError("a rehearsal needs the doubles of the platforms: pip install 'elboflow[rehearsal]'")
    from pipelines.rehearsal.nights import rehearse, sweep
    from pipelines.rehearsal.plan import faults, plan
    from pipelines.rehearsal.stage import stage

    below = folder.resolve() / FOLDER
    place = open_to_write(below / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
    at_work = lock.hold(place.folder)
    try:
        for earlier in below.iterdir():
            if earlier != place.folder and not lock.is_held(earlier):
                shutil.rmtree(earlier, ignore_errors=True)
        with stage(wanted.experiment, wanted.target, place, wanted.samples, wanted.executes) as on_stage:
            executes, expires = on_stage.small is not None, on_stage.credentials.tokens is not None
            can_happen = faults(wanted.timing, datetime.now(UTC), expires, on_stage.samples if executes else ())
            planned = plan(wanted.nights, wanted.seed, executes, can_happen)
            _introduce(wanted, sum(night.executes for night in planned))
            shown: list[Flaw] = []
            try:
                yield from rehearse(on_stage, wanted.target, wanted.timing, planned, wanted.if_changed, shown)
                if wanted.sweep is not None:
                    yield sweep(on_stage, wanted.target, wanted.sweep, wanted.nights + 1)
            except (RequestError, WorkError) as error:
                yield _refused(error)
            yield from shown
    finally:
        if at_work is not None:
            os.close(at_work)
