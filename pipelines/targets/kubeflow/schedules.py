"""Kubeflow's recurring runs: the half of the client that keeps schedules.

Their cron has a field more than usual, seconds, first. It cannot name a timezone: the controller has one for all, which
its environment variable CRON_SCHEDULE_TIMEZONE says.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from components.surroundings import retries
from elboflow.settings import RequestError
from pipelines.targets import Job, RunState, ScheduleState
from pipelines.targets.kubeflow import states
from pipelines.targets.kubeflow.api import API, equal, pages
from pipelines.targets.kubeflow.connection import delay
from pipelines.targets.tasks import unique
from pipelines.timing import Timing
from pipelines.timing.calendar import Calendar


class Schedules(API):
    """What a `KubeflowClient` can do with schedules."""

    def create_schedule(self, job: Job, timing: Timing, if_changed: bool) -> ScheduleState:
        """Makes a schedule of a job, once: it is looked up by its name before its making is tried again.

        Of ticks that a pause or an outage missed, Kubeflow makes up for the last or for all.
        """
        if timing.catch_up == "none":
            raise RequestError("Kubeflow makes up for missed ticks: choose --catch-up last, or all; it knows no none")
        self._check_zone(timing.timezone)
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
                    cron_expression=six_fields(timing.cron),
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
            return self.state(started)

    def delete(self, id: str) -> None:
        """Removes a schedule; its runs stay."""
        with self.asking(f"the schedule {id}"):
            retries.removed_once(lambda: self.client.delete_recurring_run(id), delay)

    def history(self, id: str, limit: int = 50) -> list[RunState]:
        """Returns the runs of a schedule, those triggered by hand among them, the newest first."""
        with self.asking(f"the schedule {id}"):
            self._get(id)
            return self._runs_of(id, limit)

    def _check_zone(self, wanted: str) -> None:
        """Refuses a timezone that is not the controller's, in which its runs would come at other times."""
        zone = self.connection.timezone
        if wanted != zone:
            raise RequestError(
                f"timezone '{wanted}': Kubeflow has one for all schedules, by targets.kubeflow.timezone {zone}; give "
                f"the cron in it (--timezone {zone}), or set there what its controller's CRON_SCHEDULE_TIMEZONE says"
            )

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
        return [self.state(run) for run in found]

    def _schedule_state(self, schedule: Any) -> ScheduleState:
        cron = schedule.trigger.cron_schedule
        parameters = (schedule.runtime_config.parameters if schedule.runtime_config else None) or {}
        status: Literal["active", "paused"] = "active" if schedule.status == "ENABLED" else "paused"
        timing = Timing(
            cron=five_fields(cron.cron) if cron else "",
            timezone=self.connection.timezone,
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


def six_fields(cron: str) -> str:
    """Returns a cron expression of five fields as Kubeflow takes it: seconds first."""
    return f"0 {cron}"


def five_fields(cron: str) -> str:
    """Returns a cron expression of Kubeflow's as one of five fields. The last of its six may be left out for a `*`."""
    fields = cron.split()
    return " ".join([*fields[1:], *["*"] * (len(fields) == 5)]) if len(fields) in (5, 6) else cron


def _next(timing: Timing) -> datetime | None:
    """Returns the next tick, which Kubeflow does not tell.

    Its controller ticks exactly as often as its wall clock shows the time: never where the clock skips it.
    """
    try:
        return Calendar(timing, literally=True).after(datetime.now(UTC))
    except RequestError:  # made by other means, with a cron such as @every 2h
        return None


def _written(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
