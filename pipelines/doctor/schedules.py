"""The schedules of this machine, whether they run in time and what they run is there, and its damaged records."""

import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from elboflow.artifacts import read_json
from elboflow.settings import RequestError, WorkError
from elboflow.settings.explain import explain
from elboflow.settings.text import counted
from pipelines.connect import MEMORY
from pipelines.experiment import Experiment
from pipelines.schedules.database import FILE, blank
from pipelines.schedules.heartbeat import holder, places, trouble
from pipelines.schedules.one_pass import queued
from pipelines.schedules.record_due import GRACE
from pipelines.schedules.states import Schedule
from pipelines.schedules.store import Store
from pipelines.targets.checks import Finding
from pipelines.targets.local import record
from pipelines.timing.calendar import Calendar
from pipelines.timing.trigger import parsed
from preprocessing.files import is_uri

MOST = 3
"""Damaged files that are named."""

LONG = timedelta(hours=12)
"""A tick that has waited for as long says that the machine does not do the work of its schedules."""


def schedules(workspace: Path) -> list[Finding]:
    """Looks at the scheduler of a workspace and at its schedules; nothing is said where there are none."""
    if not (workspace / FILE).is_file():
        return []
    what = f"schedules {workspace / FILE}"
    if (reason := blank(workspace)) is not None:
        remove = f"remove it, and make the schedules anew: rm {shlex.quote(str(workspace / FILE))}"
        return [Finding(what, "problem", reason, f"put a backup in its place, or {remove}")]
    try:
        with Store(workspace) as store:
            if (damage := store.damage()) is not None:
                return [Finding(what, "problem", damage.partition("; ")[0], damage.partition("; ")[2])]
            return [*_scheduler(store, workspace), *_each(store)]
    except (RequestError, WorkError) as error:
        found, _, remedy = str(error).partition("; ")
        return [Finding(what, "problem", found, remedy or "see the message")]


def _scheduler(store: Store, workspace: Path) -> Iterator[Finding]:
    known = [schedule for schedule in store.schedules() if schedule.paused is None]
    if not known:
        return
    what, now = "scheduler", datetime.now(UTC)
    if (reason := trouble(workspace)) is not None:
        start = f"elboflow scheduler --workspace {workspace}"
        remedy = f"start one: {start}" if holder(workspace) is None else f"end that process, and start another: {start}"
        yield Finding(what, "problem", f"{reason}; its {counted(len(known), 'schedule')} will not run", remedy)
        return
    if behind := [schedule.id for schedule in known if _is_overdue(schedule, now)]:
        yield Finding(what, "problem", f"does not look at what is due of {', '.join(behind[:5])}", "its log says why")
        return
    line, at_once = queued(store.open_ticks(), known), places(store)
    if not line:
        yield Finding(what, "ok", f"at work for {counted(len(known), 'schedule')}: {holder(workspace)}")
        return
    oldest = min(tick.key.time for tick in line)
    found = (
        f"{counted(len(line), 'tick')} in line for {counted(at_once or 0, 'place')}, since {oldest:%Y-%m-%d %H:%M} UTC"
    )
    if now - oldest < LONG:
        yield Finding(what, "ok", f"at work; {found}")
    else:
        yield Finding(
            what, "problem", found, "let more run at once (--max-runs), schedule fewer, or run them on a platform"
        )


def _is_overdue(schedule: Schedule, now: datetime) -> bool:
    try:
        following = Calendar(schedule.timing).after(schedule.settled)
    except RequestError:
        return False  # `_each` says so
    return following is not None and following < now - GRACE


def _each(store: Store) -> Iterator[Finding]:
    for id, reason in store.unreadable().items():
        yield Finding(f"schedule {id}", "problem", reason, "delete it, and make it anew")
    for schedule in store.schedules():
        anew = f"delete it (elboflow schedule delete {schedule.id}), and make it anew"
        if (found := _wrong(schedule)) is not None:
            yield Finding(f"schedule {schedule.id}", "problem", found, anew)


def _wrong(schedule: Schedule) -> str | None:
    """Returns why the runs of a schedule would fail; None where nothing is seen."""
    try:
        if parsed(schedule.timing.cron) is None:
            Calendar(schedule.timing)
    except RequestError as error:
        return str(error)
    folder = Path(schedule.folder)
    if not folder.is_dir():
        return f"the folder {folder}, in which it was made, is no longer there: was it moved?"
    try:
        experiment = Experiment.model_validate(schedule.experiment)
    except ValidationError as error:
        problems = explain(error, Experiment)
        return f"this version does not accept its experiment: {problems[0]}"
    located = {} if experiment.data.source.is_dated else experiment.data.source.locations  # data that are to come
    places = [place for place in located.values() if not is_uri(place)]
    absent = [str(place) for place in (folder / Path(place).expanduser() for place in places) if not place.exists()]
    return f"its data are not there: {', '.join(absent)}" if absent else None


def records(workspace: Path) -> Iterator[Finding]:
    """Reads the records of runs and sweeps, and what is remembered of platforms; says nothing where there are none."""
    runs, damaged = list(workspace.glob(f"runs/*/{record.FILE}")), []
    readers: list[tuple[Callable[[Path], object], Path]] = [(record.read, path.parent) for path in runs]
    readers += [
        (lambda file: read_json(file, dict), path)
        for path in (*workspace.glob("sweeps/*/sweep.json"), workspace / MEMORY)
    ]
    for read, path in readers:
        try:
            read(path)
        except FileNotFoundError:
            continue
        except WorkError as error:
            damaged.append(str(error))
    if damaged:
        more = f"; {len(damaged) - MOST:,} more" if len(damaged) > MOST else ""
        remedy = "restore the file from a copy, or remove it: what the steps made is kept in other files"
        yield Finding("records", "problem", "; ".join(damaged[:MOST]) + more, remedy)
    elif runs:
        yield Finding("records", "ok", f"{counted(len(runs), 'run')} here, none damaged")
