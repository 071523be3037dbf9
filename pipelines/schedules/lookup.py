"""The schedules of a workspace, found by their ids and names, or by what they run."""

import logging
from pathlib import Path

from elboflow.settings import RequestError
from elboflow.settings.near import near
from pipelines.schedules.database import FILE, blank
from pipelines.schedules.heartbeat import places
from pipelines.schedules.report import deleted, places_in_queue
from pipelines.schedules.states import Schedule
from pipelines.schedules.store import Store
from pipelines.targets import Job
from pipelines.timing import Timing
from pipelines.workspace import Workspace

log = logging.getLogger("elboflow.schedules")


def has_schedules(workspace: Workspace) -> bool:
    """Returns whether there is a database to read. An empty file is reported, and left for `doctor` to find."""
    file = workspace.folder / FILE
    if not file.is_file():
        return False
    if (reason := blank(workspace.folder)) is not None:
        log.warning("%s has no schedules: %s", file, reason)
        return False
    return True


def twin(workspace: Workspace, job: Job, timing: Timing, if_changed: bool) -> str | None:
    """Returns the id of a schedule that runs the same at the same times; None where there is none."""
    if not has_schedules(workspace):
        return None
    experiment = job.arguments.get("experiment")
    same = (experiment, str(Path.cwd()), timing, if_changed or bool(job.arguments.get("if_changed")))
    with Store(workspace.folder) as store:
        for other in store.schedules():
            if (other.experiment, other.folder, other.timing, other.if_changed) == same:
                return other.id
    return None


def waiting(workspace: Workspace) -> tuple[int, int | None]:
    """Returns the length of the queue, and how many runs may be active at once."""
    if not has_schedules(workspace):
        return 0, None
    with Store(workspace.folder) as store:
        return len(places_in_queue(store)), places(store)


def owner(store: Store, name: str) -> str | None:
    """Returns the schedule that has a name, or has it for its id; None where it is free."""
    return store.named(name) or (None if store.schedule(name) is None else name)


def existing(store: Store, id: str) -> Schedule:
    """Returns the schedule of an id or a name, or raises RequestError where there is none, or it was deleted."""
    schedule = known(store, id)
    if schedule.deleted is not None:
        raise RequestError(f"the schedule '{id}' was {deleted(schedule)}")
    return schedule


def known(store: Store, id: str) -> Schedule:
    """Returns the schedule of an id or a name, even a deleted one, or raises RequestError where there is none."""
    # An id first: a schedule may have a name that is the id of another one.
    if (schedule := store.schedule(id) or store.schedule(store.named(id) or id)) is not None:
        return schedule
    meant = near(id, [*store.labels(), *store.ids()])
    hint = f"did you mean '{meant}'? " if meant else ""
    raise RequestError(f"there is no schedule '{id}'; {hint}`elboflow schedule list` lists those there are")
