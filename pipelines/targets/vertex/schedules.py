"""Vertex AI's schedules: the half of the client that keeps them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from elboflow.settings import RequestError
from pipelines.targets import Job, RunState, ScheduleState
from pipelines.targets.naming import unique
from pipelines.targets.vertex import states
from pipelines.targets.vertex.api import API, SETTINGS
from pipelines.targets.vertex.jobs import CATCH_UP, EXPERIMENT, SCHEDULE, pipeline_job
from pipelines.targets.vertex.services import types
from pipelines.timing import Timing

_STATES: dict[str, Literal["active", "paused", "ended"]] = {
    "ACTIVE": "active",
    "PAUSED": "paused",
    "COMPLETED": "ended",
}


class Schedules(API):
    """What a `VertexClient` can do with schedules."""

    def create_schedule(self, job: Job, timing: Timing, if_changed: bool) -> ScheduleState:
        """Makes a schedule of a job, once: it is looked up by its name before its making is tried again.

        Missed ticks are those of a pause; Vertex AI makes up for all of them or for none.
        """
        if timing.catch_up == "last":
            raise RequestError(
                "Vertex AI makes up for none of the ticks that a pause missed, or for all: not for the last"
            )
        with self.asking(f"the schedule of {job.name}"):
            arguments = {**job.arguments, "if_changed": True} if if_changed else job.arguments
            wanted = pipeline_job(replace(job, arguments=arguments), self.connection)
            wanted.labels[CATCH_UP] = timing.catch_up
            schedule, tried = self._schedule(wanted, timing, unique(job.name)), False

            def create() -> Any:
                nonlocal tried
                again, tried = tried, True
                if again and (found := self._list(f'display_name="{schedule.display_name}"')):
                    return found[0]
                return self.schedulers.create_schedule(parent=self.connection.parent, schedule=schedule, **SETTINGS)

            return self._state(self.patiently(create))

    def schedules(self) -> list[ScheduleState]:
        """Returns all schedules of ELBOflow's."""
        with self.asking("schedules"):
            found = self.patiently(lambda: self._list(""))
        return [self._state(schedule) for schedule in found if EXPERIMENT in _job(schedule).labels]

    def schedule(self, id: str) -> ScheduleState:
        """Returns a schedule, with its last run."""
        with self.asking(f"the schedule {id}"):
            found = self._get(id)
            last = self._runs_of(found, 1)
        return replace(self._state(found), last=last[0] if last else None)

    def pause(self, id: str) -> None:
        """Makes a schedule skip its ticks until it is resumed."""
        with self.asking(f"the schedule {id}"):
            if self._get(id).state.name == "ACTIVE":
                self.patiently(lambda: self.schedulers.pause_schedule(name=self._schedule_path(id), **SETTINGS))

    def resume(self, id: str) -> None:
        """Lets a paused schedule go on, and makes up for what the pause missed if it was made so."""
        with self.asking(f"the schedule {id}"):
            schedule = self._get(id)
            if schedule.state.name == "PAUSED":
                request = {"name": schedule.name, "catch_up": _job(schedule).labels.get(CATCH_UP) == "all"}
                self.patiently(lambda: self.schedulers.resume_schedule(request, **SETTINGS))

    def trigger(self, id: str) -> RunState:
        """Runs a schedule's job now, besides its ticks."""
        with self.asking(f"the schedule {id}"):
            wanted = _job(self._get(id))
            wanted.labels[SCHEDULE] = id
            return self.start(wanted, wanted.labels[EXPERIMENT])

    def delete(self, id: str) -> None:
        """Removes a schedule; its runs stay."""
        from google.api_core.exceptions import NotFound

        tried = False

        def remove() -> None:
            nonlocal tried
            again, tried = tried, True
            try:
                self.schedulers.delete_schedule(name=self._schedule_path(id), **SETTINGS).result(timeout=60)
            except NotFound:
                if not again:
                    raise

        with self.asking(f"the schedule {id}"):
            self.patiently(remove)

    def history(self, id: str, limit: int = 50) -> list[RunState]:
        """Returns the runs of a schedule, those triggered by hand among them, the newest first."""
        with self.asking(f"the schedule {id}"):
            return self._runs_of(self._get(id), limit)

    def _runs_of(self, schedule: Any, limit: int) -> list[RunState]:
        ticked = self.runs_of(f'schedule_name="{schedule.name}"', limit)
        triggered = self.runs_of(f'labels.{SCHEDULE}="{schedule.name.rpartition("/")[2]}"', limit)
        newest = sorted(
            [*ticked, *triggered], key=lambda run: run.created or datetime.min.replace(tzinfo=UTC), reverse=True
        )
        return newest[:limit]

    def _schedule_path(self, id: str) -> str:
        return f"{self.connection.parent}/schedules/{id}"

    def _get(self, id: str) -> Any:
        return self.patiently(lambda: self.schedulers.get_schedule(name=self._schedule_path(id), **SETTINGS))

    def _list(self, filter: str) -> list[Any]:
        request = {"parent": self.connection.parent, "filter": filter, "page_size": 100}
        return list(self.schedulers.list_schedules(request, **SETTINGS))

    def _schedule(self, job: Any, timing: Timing, name: str) -> Any:
        kind = types("pipeline_service").CreatePipelineJobRequest
        request = kind(parent=self.connection.parent, pipeline_job=job)
        return types("schedule").Schedule(
            display_name=name,
            cron=f"TZ={timing.timezone} {timing.cron}",
            create_pipeline_job_request=request,
            start_time=timing.start,
            end_time=timing.end,
            max_concurrent_run_count=timing.max_active,
            max_concurrent_active_run_count=timing.max_active,
        )

    def _state(self, schedule: Any) -> ScheduleState:
        job, id = _job(schedule), schedule.name.rpartition("/")[2]
        zone, cron = schedule.cron.split(" ", 1) if "TZ=" in schedule.cron else ("TZ=UTC", schedule.cron)
        catch_up: Literal["none", "all"] = "all" if job.labels.get(CATCH_UP) == "all" else "none"
        parameters = dict(job.runtime_config.parameter_values)
        return ScheduleState(
            id=id,
            experiment=job.labels.get(EXPERIMENT, schedule.display_name),
            target="vertex",
            timing=Timing(
                cron=cron,
                timezone=zone.partition("=")[2],
                start=states.moment(schedule.start_time),
                end=states.moment(schedule.end_time),
                max_active=schedule.max_concurrent_active_run_count or schedule.max_concurrent_run_count,
                catch_up=catch_up,
            ),
            status=_STATES.get(schedule.state.name, "ended"),
            if_changed=bool(parameters.get("if_changed", False)),
            next=states.moment(schedule.next_run_time),
            link=self.connection.schedule_link(id),
        )


def _job(schedule: Any) -> Any:
    return schedule.create_pipeline_job_request.pipeline_job
