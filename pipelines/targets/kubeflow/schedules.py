"""Kubeflow's recurring runs: the half of the client that keeps schedules.

Their cron has a field more than usual, seconds, first. It cannot name a timezone: the controller has one for all, which
its environment variable CRON_SCHEDULE_TIMEZONE says.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from components.surroundings import retries
from elboflow.settings import RequestError
from elboflow.settings.zones import zone
from pipelines.targets import Job, Naming, RunState, ScheduleState, taken
from pipelines.targets.kubeflow import states
from pipelines.targets.kubeflow.api import API, equal, pages
from pipelines.targets.kubeflow.connection import delay
from pipelines.targets.kubeflow.recurring import (
    FOR_DATE,
    TELLS_TIME,
    described,
    is_id,
    numbers,
    schedule_state,
    six_fields,
    written,
)
from pipelines.targets.tasks import recorded_in, require_date, unique
from pipelines.timing import Timing
from pipelines.timing.calendar import MOST
from preprocessing import dates


class Schedules(API):
    """What a `KubeflowClient` can do with schedules."""

    def create_schedule(
        self, job: Job, timing: Timing, if_changed: bool, naming: Naming | None = None, *, paused: bool = False
    ) -> ScheduleState:
        """Makes a schedule of a job, once: it is looked up by its name before its making is tried again.

        Of ticks that a pause or an outage missed, Kubeflow makes up for the last or for all.
        """
        if naming is not None:
            with self.asking(f"the schedule {naming.name}"):
                other = self.patiently(lambda: self._first(equal("display_name", naming.name)))
            if other is not None:
                raise RequestError(taken(naming.name, other.recurring_run_id))
        return self._create(job, timing, if_changed, naming, paused)

    def change_schedule(
        self, schedule: ScheduleState, job: Job, timing: Timing, if_changed: bool, naming: Naming, *, paused: bool
    ) -> ScheduleState:
        """Replaces a schedule, as Kubeflow changes none: the new one is there before the old one goes."""
        if timing.start is not None and timing.start <= datetime.now(UTC):
            timing = replace(timing, start=None)  # it would make up for what the old one has run
        made = self._create(job, timing, if_changed, naming, paused, known=schedule.id)
        self.delete(schedule.id)
        return made

    def scheduled_experiment(self, id: str) -> dict[str, Any]:
        """Returns the experiment that a schedule's pipeline holds."""
        with self.asking(f"the schedule {id}"):
            return recorded_in(self.specification(self._get(id)))

    def _create(
        self,
        job: Job,
        timing: Timing,
        if_changed: bool,
        naming: Naming | None,
        paused: bool,
        known: str | None = None,
    ) -> ScheduleState:
        if timing.catch_up == "none":
            raise RequestError("Kubeflow makes up for missed ticks: choose --catch-up last, or all; it knows no none")
        self._check_zone(timing.timezone)
        name = unique(job.name) if naming is None else naming.name
        if job.is_dated:
            self._check_dates()
        with self.asking(f"the schedule of {job.name}"), self.source(job) as source:
            experiment = self.experiment(job.name)
            made = self.once(
                lambda: self.client.create_recurring_run(
                    experiment,
                    name,
                    start_time=written(timing.start),
                    end_time=written(timing.end),
                    cron_expression=six_fields(timing.cron),
                    max_concurrency=timing.max_active,
                    no_catchup=timing.catch_up == "last",
                    params=job.scheduled(timing, if_changed).arguments,
                    service_account=self.connection.service_account,
                    description=None if naming is None else described(naming, job),
                    enabled=not paused,
                    **source,
                ),
                lambda: self._first(equal("display_name", name), known),
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
            state = self._schedule_state(self._get(id))
            last = self._runs_of(state.id, 1)
        return replace(state, last=last[0] if last else None)

    def pause(self, id: str) -> None:
        """Makes a schedule skip its ticks until it is resumed."""
        with self.asking(f"the schedule {id}"):
            found = self._get(id).recurring_run_id
            self.patiently(lambda: self.client.disable_recurring_run(found))

    def resume(self, id: str) -> None:
        """Lets a paused schedule go on."""
        with self.asking(f"the schedule {id}"):
            found = self._get(id).recurring_run_id
            self.patiently(lambda: self.client.enable_recurring_run(found))

    def trigger(self, id: str, date: str | None = None) -> RunState:
        """Runs a schedule's job now, besides its ticks; for a date where its pipeline has that parameter."""
        import kfp_server_api

        with self.asking(f"the schedule {id}"):
            schedule = self._get(id)
            experiment = self.experiment_name(schedule.experiment_id)
            name = unique(experiment)
            if date is not None:
                require_date(self.specification(schedule), id)
                known = schedule.runtime_config or kfp_server_api.V2beta1RuntimeConfig()
                known.parameters = {**(known.parameters or {}), "date": date}
                schedule.runtime_config = known
            body = kfp_server_api.V2beta1Run(
                experiment_id=schedule.experiment_id,
                display_name=name,
                description=None if date is None else f"{FOR_DATE}{date}",
                recurring_run_id=schedule.recurring_run_id,
                pipeline_spec=schedule.pipeline_spec,
                pipeline_version_reference=schedule.pipeline_version_reference,
                runtime_config=schedule.runtime_config,
                service_account=schedule.service_account,
            )
            if body.pipeline_version_reference is not None:
                body.pipeline_spec = None  # Kubeflow shows both, and takes one
            started = self.once(lambda: self.requests.run_service_create_run(run=body), lambda: self._named(name))
            return self.state(started)

    def dated_runs(self, id: str) -> dict[str, RunState]:
        """Returns the latest run of each date: a backfill's, or a tick's, which was scheduled for it."""
        with self.asking(f"the schedule {id}"):
            schedule = self._get(id)
            require_date(self.specification(schedule), id)
            here, found = zone(self.connection.timezone), dict[str, RunState]()
            for run in self._found_runs(schedule.recurring_run_id, MOST):
                told = (run.description or "").partition(FOR_DATE)[2]
                if not told and run.scheduled_at is not None:
                    told = dates.written(
                        run.scheduled_at.astimezone(here).replace(second=0, microsecond=0, tzinfo=None)
                    )
                found.setdefault(told, states.run_state(run, {}, schedule.display_name, self.connection))
            return found

    def delete(self, id: str) -> None:
        """Removes a schedule; its runs stay."""
        with self.asking(f"the schedule {id}"):
            found = id if is_id(id) else self._get(id).recurring_run_id
            retries.removed_once(lambda: self.client.delete_recurring_run(found), delay)

    def history(self, id: str, limit: int = 50) -> list[RunState]:
        """Returns the runs of a schedule, those triggered by hand among them, the newest first."""
        with self.asking(f"the schedule {id}"):
            return self._runs_of(self._get(id).recurring_run_id, limit)

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

    def _check_dates(self) -> None:
        """Refuses a schedule whose runs would not know the date that they are meant for."""
        with self.asking("its version"):
            version = self.version()
        if version is not None and numbers(version) < TELLS_TIME:
            raise RequestError(
                f"data.source: {{date}} needs the time that a run was scheduled for, which Kubeflow Pipelines tells "
                f"from version {'.'.join(map(str, TELLS_TIME))} on; this one is {version}"
            )

    def _get(self, id: str) -> Any:
        """Returns the recurring run of an id, which is a UUID, or of a name."""
        named = None if is_id(id) else self.patiently(lambda: self._first(equal("display_name", id)))
        return named or self.patiently(lambda: self.client.get_recurring_run(id))

    def _first(self, filter: str, known: str | None = None) -> Any:
        """Returns the first recurring run of a filter, other than one that is known; None where there is none."""
        found = self._recurring(page_size=10, filter=filter).recurring_runs or ()
        return next((each for each in found if each.recurring_run_id != known), None)

    def _named(self, name: str) -> Any:
        found = self.client.list_runs(page_size=2, filter=equal("display_name", name)).runs
        return found[0] if found else None

    def _runs_of(self, id: str, limit: int) -> list[RunState]:
        return [self.state(run) for run in self._found_runs(id, limit)]

    def _found_runs(self, id: str, limit: int) -> list[Any]:
        """Returns the runs of a schedule as Kubeflow tells them, the newest first."""
        return pages(
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

    def _schedule_state(self, schedule: Any) -> ScheduleState:
        return schedule_state(schedule, self.experiment_name(schedule.experiment_id), self.connection)
