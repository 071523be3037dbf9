"""What a schedule is as a recurring run of Kubeflow's: its cron, its description, its id."""

import re
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from elboflow.settings import RequestError
from pipelines.targets import Job, Naming, ScheduleState
from pipelines.targets.kubeflow import states
from pipelines.targets.kubeflow.connection import Connection
from pipelines.timing import Timing
from pipelines.timing.calendar import Calendar

TELLS_TIME = (2, 17)
"""The first version that replaces `{{$.pipeline_job_schedule_time_utc}}` (kubeflow/pipelines#13474)."""
FOR_DATE = "for the date "
"""Describes a run for a date, before that date."""
DESCRIBED = re.compile(r"ELBOflow schedule(?: of the group (?P<group>[a-z0-9-]+))?, job (?P<job>[0-9a-f]{64})")
"""What describes a recurring run with a name."""


def described(naming: Naming, job: Job) -> str:
    """Returns the description of a recurring run with a name, by which it is known again."""
    group = "" if naming.group is None else f" of the group {naming.group}"
    return f"ELBOflow schedule{group}, job {job.digest}"


def schedule_state(schedule: Any, experiment: str, connection: Connection) -> ScheduleState:
    """Returns a `V2beta1RecurringRun` of an experiment as a schedule."""
    cron = schedule.trigger.cron_schedule
    parameters = (schedule.runtime_config.parameters if schedule.runtime_config else None) or {}
    status: Literal["active", "paused"] = "active" if schedule.status == "ENABLED" else "paused"
    marked = DESCRIBED.fullmatch(schedule.description or "")
    timing = Timing(
        cron=five_fields(cron.cron) if cron else "",
        timezone=connection.timezone,
        start=states.moment(cron.start_time) if cron else None,
        end=states.moment(cron.end_time) if cron else None,
        max_active=int(schedule.max_concurrency or 1),
        catch_up="last" if schedule.no_catchup else "all",
    )
    return ScheduleState(
        id=schedule.recurring_run_id,
        experiment=experiment,
        target="kubeflow",
        timing=timing,
        status=status,
        if_changed=bool(parameters.get("if_changed", False)),
        next=next_tick(timing) if cron and status == "active" else None,
        link=connection.schedule_link(schedule.recurring_run_id),
        name=schedule.display_name if marked else None,
        group=marked["group"] if marked else None,
        job=marked["job"] if marked else None,
    )


def is_id(text: str) -> bool:
    """Returns whether a text is the id of a recurring run, and not a name."""
    try:
        return bool(UUID(text))
    except ValueError:
        return False


def six_fields(cron: str) -> str:
    """Returns a cron expression of five fields as Kubeflow takes it: seconds first."""
    return f"0 {cron}"


def five_fields(cron: str) -> str:
    """Returns a cron expression of Kubeflow's as one of five fields. The last of its six may be left out for a `*`."""
    fields = cron.split()
    return " ".join([*fields[1:], *["*"] * (len(fields) == 5)]) if len(fields) in (5, 6) else cron


def next_tick(timing: Timing) -> datetime | None:
    """Returns the next tick, which Kubeflow does not tell.

    Its controller ticks exactly as often as its wall clock shows the time: never where the clock skips it.
    """
    try:
        return Calendar(timing, literally=True).after(datetime.now(UTC))
    except RequestError:  # made by other means, with a cron such as @every 2h
        return None


def numbers(version: str) -> tuple[int, ...]:
    """Returns the first two numbers of a version."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def written(moment: datetime | None) -> str | None:
    """Returns a moment as Kubeflow takes it."""
    return moment.isoformat() if moment is not None else None
