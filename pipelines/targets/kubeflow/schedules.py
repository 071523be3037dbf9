"""Kubeflow's recurring runs: the half of the client that keeps schedules.

Their cron has a field more than usual, seconds, first; the controller's parser takes `TZ=ZONE` before it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from pipelines.schedules.calendar import Calendar
from pipelines.targets import Job, RunState, ScheduleState, Timing
from pipelines.targets.kubeflow import states
from pipelines.targets.kubeflow.api import API, equal, pages
from pipelines.targets.naming import unique
from settings import RequestError

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class Schedules(API):
    """What a `KubeflowClient` can do with schedules."""

    def create_schedule(self, job: Job, timing: Timing, if_changed: bool) -> ScheduleState:
        """Makes a schedule of a job, once: it is looked up by its name before its making is tried again.

        Of ticks that a pause or an outage missed, Kubeflow makes up for the last or for all.
        """
        if timing.catch_up == "none":
            raise RequestError("Kubeflow makes up for missed ticks: choose --catch-up last, or all; it knows no none")
        name = unique(job.name)
        arguments = {**job.arguments, "if_changed": True} if if_changed else job.arguments
        with self.asking(f"the schedule of {job.name}"), self.source(job) as source:
            experiment = self.experiment(job.name)
            made = self.once(
                lambda: self.client.create_recurring_run(
                    experiment,
                    name,
                    start_time=_written(timing.start),
                    end_time=_written(timing.end),
                    cron_expression=six_fields(timing.cron, timing.timezone),
                    max_concurrency=timing.max_active,
                    no_catchup=timing.catch_up == "last",
                    params=arguments,
                    service_account=self.connection.service_account,
                    **source,
                ),
                lambda: self._first(equal("display_name", name)),
            )
            return self._schedule_state(made)

    def schedules(self) -> list[ScheduleState]:
        """Returns all schedules of ELBOflow's."""
        with self.asking("schedules"):
            ours = self.experiments()
            found = pages(
                lambda token: self.patiently(lambda: self._recurring(page_token=token, page_size=100)), "recurring_runs"
            )
            return [self._schedule_state(each) for each in found if each.experiment_id in ours]

    def schedule(self, id: str) -> ScheduleState:
        """Returns a schedule, with its last run."""
        with self.asking(f"the schedule {id}"):
            state, last = self._schedule_state(self._get(id)), self._runs_of(id, 1)
        return replace(state, last=last[0] if last else None)

    def pause(self, id: str) -> None:
        """Makes a schedule skip its ticks until it is resumed."""
        with self.asking(f"the schedule {id}"):
            self.patiently(lambda: self.client.disable_recurring_run(id))

    def resume(self, id: str) -> None:
        """Lets a paused schedule go on."""
        with self.asking(f"the schedule {id}"):
            self.patiently(lambda: self.client.enable_recurring_run(id))

    def trigger(self, id: str) -> RunState:
        """Runs a schedule's job now, besides its ticks."""
        import kfp_server_api

        with self.asking(f"the schedule {id}"):
            schedule = self._get(id)
            experiment = self.experiment_name(schedule.experiment_id)
            name = unique(experiment)
            body = kfp_server_api.V2beta1Run(
                experiment_id=schedule.experiment_id,
                display_name=name,
                recurring_run_id=id,
                pipeline_spec=schedule.pipeline_spec,
                pipeline_version_reference=schedule.pipeline_version_reference,
                runtime_config=schedule.runtime_config,
                service_account=schedule.service_account,
            )
            if body.pipeline_version_reference is not None:
                body.pipeline_spec = None  # Kubeflow shows both, and takes one
            started = self.once(lambda: self.requests.run_service_create_run(run=body), lambda: self._named(name))
            return self._state(started)

    def delete(self, id: str) -> None:
        """Removes a schedule; its runs stay."""
        from kfp_server_api import ApiException

        tried = False

        def remove() -> None:
            nonlocal tried
            again, tried = tried, True
            try:
                self.client.delete_recurring_run(id)
            except ApiException as error:
                if not (again and error.status == 404):
                    raise

        with self.asking(f"the schedule {id}"):
            self.patiently(remove)

    def history(self, id: str, limit: int = 50) -> list[RunState]:
        """Returns the runs of a schedule, those triggered by hand among them, the newest first."""
        with self.asking(f"the schedule {id}"):
            self._get(id)
            return self._runs_of(id, limit)

    def _recurring(self, **query: Any) -> Any:
        return self.client.list_recurring_runs(namespace=self.client.get_user_namespace() or None, **query)

    def _get(self, id: str) -> Any:
        return self.patiently(lambda: self.client.get_recurring_run(id))

    def _first(self, filter: str) -> Any:
        found = self._recurring(page_size=2, filter=filter).recurring_runs
        return found[0] if found else None

    def _named(self, name: str) -> Any:
        found = self.client.list_runs(page_size=2, filter=equal("display_name", name)).runs
        return found[0] if found else None

    def _runs_of(self, id: str, limit: int) -> list[RunState]:
        found = pages(
            lambda token: self.patiently(
                lambda: self.client.list_runs(
                    page_token=token,
                    page_size=min(limit, 100),
                    sort_by="created_at desc",
                    filter=equal("recurring_run_id", id),
                )
            ),
            "runs",
            limit,
        )
        return [self._state(run) for run in found]

    def _state(self, run: Any) -> RunState:
        return states.run_state(run, self.experiment_name(run.experiment_id), self.connection)

    def _schedule_state(self, schedule: Any) -> ScheduleState:
        cron = schedule.trigger.cron_schedule
        expression, zone = five_fields(cron.cron) if cron else ("", "UTC")
        parameters = (schedule.runtime_config.parameters if schedule.runtime_config else None) or {}
        status: Literal["active", "paused"] = "active" if schedule.status == "ENABLED" else "paused"
        timing = Timing(
            cron=expression,
            timezone=zone,
            start=states.moment(cron.start_time) if cron else None,
            end=states.moment(cron.end_time) if cron else None,
            max_active=int(schedule.max_concurrency or 1),
            catch_up="last" if schedule.no_catchup else "all",
        )
        return ScheduleState(
            id=schedule.recurring_run_id,
            experiment=self.experiment_name(schedule.experiment_id),
            target="kubeflow",
            timing=timing,
            status=status,
            if_changed=bool(parameters.get("if_changed", False)),
            next=_next(timing) if cron and status == "active" else None,
            link=self.connection.schedule_link(schedule.recurring_run_id),
        )


def six_fields(cron: str, timezone: str) -> str:
    """Returns a cron expression of five fields as Kubeflow takes it: seconds first, Sunday as 0, the zone before it.

    Example:
        >>> six_fields("0 2 * * 1-7", "Europe/Berlin")
        'TZ=Europe/Berlin 0 0 2 * * 0,1,2,3,4,5,6'
    """
    *fields, weekday = cron.split()
    return " ".join([f"TZ={timezone}", "0", *fields, _weekday(weekday)])


def five_fields(cron: str) -> tuple[str, str]:
    """Returns a cron expression of Kubeflow's as one of five fields, and its zone."""
    zone, fields = "UTC", cron.split()
    if fields and fields[0].partition("=")[0] in ("TZ", "CRON_TZ"):
        zone, fields = fields[0].partition("=")[2], fields[1:]
    return " ".join(fields[1:] if len(fields) == 6 else fields), zone


def _weekday(field: str) -> str:
    if "7" not in field.replace("/7", ""):
        return field
    days: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        low = 0 if first == "*" else _day(first)
        high = 7 if first == "*" or (step and not last) else _day(last or first)
        days |= {day % 7 for day in range(low, high + 1, int(step or 1))}
    return ",".join(map(str, sorted(days)))


def _day(name: str, names: Sequence[str] = DAYS) -> int:
    return int(name) if name.isdigit() else names.index(name.lower()[:3])


def _next(timing: Timing) -> datetime | None:
    """Returns the next tick, which Kubeflow does not tell."""
    return Calendar(timing).after(datetime.now(UTC))


def _written(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
