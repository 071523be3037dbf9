"""Vertex AI's schedules. Their ticks come when a test says so: `VertexServer.tick`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.cloud.aiplatform_v1 import types

from elboflow.testing.platforms.clock import now
from elboflow.testing.platforms.cron import Cron
from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.vertex_api import PLACE, GoogleAPI, parsed, stamp
from elboflow.testing.platforms.wire import route

_STATE = types.Schedule.State
_CHANGEABLE = {"cron", "displayName", "endTime", "startTime", "maxConcurrentRunCount", "maxRunCount", "allowQueueing"}
_CHANGEABLE |= {"maxConcurrentActiveRunCount", "createPipelineJobRequest"}


@dataclass
class Schedule:
    """A schedule.

    Attributes:
        id: Its id.
        message: The `Schedule`, as it is.
    """

    id: str
    message: Any


class Schedules(GoogleAPI, ABC):
    """The schedules of a project.

    Attributes:
        schedules: By their ids.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.schedules: dict[str, Schedule] = {}

    @abstractmethod
    def start(self, job: Any, id: str = "", kept: Any = (), scheduled: datetime | None = None) -> Any:
        """Executes a pipeline job, which is checked first, and was meant for a time."""

    def check(self, job: Any) -> None:
        """Refuses a pipeline job that could not be executed."""

    def tick(self, id: str, time: datetime | None = None) -> Any:
        """Lets the schedule's time come, now or late: its job is executed."""
        message = self._schedule(id).message
        job = type(message.create_pipeline_job_request.pipeline_job)()
        job.CopyFrom(message.create_pipeline_job_request.pipeline_job)
        job.schedule_name = message.name
        run = self.start(job, scheduled=time or now())
        message.started_run_count += 1
        message.last_scheduled_run_response.run_response = run.message.name
        message.last_scheduled_run_response.scheduled_run_time.CopyFrom(stamp(now()))
        _set_next(message)
        return run

    def next_tick(self, id: str) -> datetime | None:
        """Returns when the schedule's time comes next; None where it does not any more."""
        message = self._schedule(id).message
        _set_next(message)
        tick: datetime | None = message.next_run_time.ToDatetime(UTC) if message.HasField("next_run_time") else None
        return tick

    @route("POST", f"{PLACE}/schedules")
    def create_schedule(self, request: Request, project: str, location: str) -> Reply:
        """Makes a schedule."""
        self.here(project, location)
        request.only()
        message, id = parsed(types.Schedule, request.json()), str(self.next_number())
        if not message.display_name or message.max_concurrent_run_count < 1:
            raise RefusedError(400, "A schedule needs a display name and a max_concurrent_run_count of at least 1.")
        if not message.create_pipeline_job_request.parent.endswith(f"/locations/{self.location}"):
            raise RefusedError(400, "create_pipeline_job_request.parent must be the schedule's own.")
        self.check(message.create_pipeline_job_request.pipeline_job)
        message.name = f"{self.parent}/schedules/{id}"
        message.state = _STATE.ACTIVE
        message.create_time.CopyFrom(stamp(now()))
        message.update_time.CopyFrom(stamp(now()))
        if not message.HasField("start_time"):
            message.start_time.CopyFrom(message.create_time)
        _set_next(message)
        self.schedules[id] = Schedule(id, message)
        return self.shown(request, message)

    @route("GET", f"{PLACE}/schedules/{{id}}")
    def get_schedule(self, request: Request, project: str, location: str, id: str) -> Reply:
        """Returns a schedule."""
        self.here(project, location)
        return self.shown(request, self._schedule(id).message)

    @route("GET", f"{PLACE}/schedules")
    def list_schedules(self, request: Request, project: str, location: str) -> Reply:
        """Lists schedules."""
        self.here(project, location)
        request.only("filter", "orderBy", "pageSize", "pageToken")
        fields = {
            "display_name": lambda schedule: schedule.display_name,
            "state": lambda schedule: _STATE(schedule.state).name,
        }
        return self.listed(request, "schedules", [each.message for each in self.schedules.values()], fields)

    @route("POST", f"{PLACE}/schedules/{{id}}:pause")
    def pause_schedule(self, request: Request, project: str, location: str, id: str) -> Reply:
        """Pauses a schedule."""
        parsed(types.PauseScheduleRequest, request.json())
        message = self._schedule(id).message
        if message.state != _STATE.ACTIVE:
            raise RefusedError(400, "Only an active schedule can be paused.")
        message.state = _STATE.PAUSED
        message.last_pause_time.CopyFrom(stamp(now()))
        message.ClearField("next_run_time")
        return answer({})

    @route("POST", f"{PLACE}/schedules/{{id}}:resume")
    def resume_schedule(self, request: Request, project: str, location: str, id: str) -> Reply:
        """Resumes a schedule."""
        wanted = parsed(types.ResumeScheduleRequest, request.json())
        message = self._schedule(id).message
        if message.state != _STATE.PAUSED:
            raise RefusedError(400, "Only a paused schedule can be resumed.")
        message.state, message.catch_up = _STATE.ACTIVE, wanted.catch_up
        message.last_resume_time.CopyFrom(stamp(now()))
        _set_next(message)
        return answer({})

    @route("PATCH", f"{PLACE}/schedules/{{id}}")
    def patch_schedule(self, request: Request, project: str, location: str, id: str) -> Reply:
        """Changes what the update mask names."""
        request.only("updateMask")
        message, changed = self._schedule(id).message, parsed(types.Schedule, request.json())
        mask = request.one("updateMask").split(",")
        if unknown := set(mask) - _CHANGEABLE:
            raise RefusedError(400, f"Invalid update mask: {', '.join(sorted(unknown))}")
        for field in message.DESCRIPTOR.fields:
            if field.json_name in mask:
                message.ClearField(field.name)
                given = type(message)()
                if field.message_type is None:
                    setattr(given, field.name, getattr(changed, field.name))
                elif changed.HasField(field.name):
                    getattr(given, field.name).CopyFrom(getattr(changed, field.name))
                message.MergeFrom(given)
        _set_next(message)
        return self.shown(request, message)

    @route("DELETE", f"{PLACE}/schedules/{{id}}")
    def delete_schedule(self, request: Request, project: str, location: str, id: str) -> Reply:
        """Deletes a schedule; its jobs stay."""
        self._schedule(id)
        del self.schedules[id]
        return self.operation()

    def _schedule(self, id: str) -> Schedule:
        if id not in self.schedules:
            raise RefusedError(404, f"The Schedule does not exist: {self.parent}/schedules/{id}")
        return self.schedules[id]


def _set_next(message: Any) -> None:
    """Works out the next tick, or ends the schedule."""
    start: datetime = max(now(), message.start_time.ToDatetime(now().tzinfo))
    try:
        tick = Cron(message.cron).after(start)
    except ValueError as error:
        raise RefusedError(400, f"Invalid cron expression: {error}") from None
    message.ClearField("next_run_time")
    if tick is None or (message.HasField("end_time") and tick > message.end_time.ToDatetime(now().tzinfo)):
        message.state = _STATE.COMPLETED
    elif message.state == _STATE.ACTIVE:
        message.next_run_time.CopyFrom(stamp(tick))
