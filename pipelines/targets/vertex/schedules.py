"""Vertex AI's schedules: the half of the client that keeps them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from components.surroundings import google, retries
from elboflow.settings import RequestError
from pipelines.targets import Job, RunState, ScheduleState
from pipelines.targets.tasks import unique
from pipelines.targets.vertex import states
from pipelines.targets.vertex.api import API
from pipelines.targets.vertex.states import CATCH_UP, EXPERIMENT, SCHEDULE, pipeline_job
from pipelines.timing import Timing

_STATES: dict[str, Literal["active", "paused", "ended"]] = {
    "ACTIVE": "active",
    "PAUSED": "paused",
    "COMPLETED": "ended",
}


class Schedules(API):
    """What a `VertexClient` can do with schedules."""

    def create_schedule(self, job: Job, timing: Timing, if_changed: bool) -> ScheduleState:
        """Creates a schedule of a job, once: each retry looks first for a schedule of the same, unique name.

        Missed ticks are those of a pause; Vertex AI makes up for all of them or for none.
        """
        if timing.catch_up == "last":
            raise RequestError(
                "Vertex AI makes up for none of the ticks that a pause missed, or for all: not for the last"
            )
        with self.asking(f"the schedule of {job.name}"):
            arguments = {**job.arguments, "if_changed": True} if if_changed else job.arguments
            wanted = pipeline_job(replace(job, arguments=arguments), self.connection)
            wanted["labels"][CATCH_UP] = timing.catch_up
            schedule, url = self._schedule(wanted, timing, unique(job.name)), self.url("schedules")
            made = retries.created_once(
                lambda: self.session.request("POST", url, json=schedule).json(),
                lambda: next(self.listed("schedules", filter=f'display_name="{schedule["displayName"]}"'), None),
                google.delay,
            )
            return self._state(made)

    def schedules(self) -> list[ScheduleState]:
        """Returns all schedules of ELBOflow's."""
        with self.asking("schedules"):
            found = list(self.listed("schedules", pageSize="100"))
        return [self._state(schedule) for schedule in found if EXPERIMENT in _job(schedule).get("labels", {})]

    def schedule(self, id: str) -> ScheduleState:
        """Returns a schedule, with its last run."""
        with self.asking(f"the schedule {id}"):
            found = self._get(id)
            last = self._runs_of(found, 1)
        return replace(self._state(found), last=last[0] if last else None)

    def pause(self, id: str) -> None:
        """Makes a schedule skip its ticks until it is resumed."""
        with self.asking(f"the schedule {id}"):
            if self._get(id)["state"] == "ACTIVE":
                self.session.post(self.url("schedules", f"{id}:pause"), {})

    def resume(self, id: str) -> None:
        """Lets a paused schedule go on, and makes up for what the pause missed if it was created so."""
        with self.asking(f"the schedule {id}"):
            schedule = self._get(id)
            if schedule["state"] == "PAUSED":
                self.session.post(self.url("schedules", f"{id}:resume"), {"catchUp": _catch_up(schedule) == "all"})

    def trigger(self, id: str) -> RunState:
        """Runs a schedule's job now, besides its ticks."""
        with self.asking(f"the schedule {id}"):
            wanted = _job(self._get(id))
            wanted["labels"][SCHEDULE] = id
            return self.start(wanted, wanted["labels"][EXPERIMENT])

    def delete(self, id: str) -> None:
        """Removes a schedule; its runs stay."""
        with self.asking(f"the schedule {id}"):
            retries.removed_once(
                lambda: self.wait(self.session.request("DELETE", self.url("schedules", id)).json()), google.delay
            )

    def history(self, id: str, limit: int = 50) -> list[RunState]:
        """Returns the runs of a schedule, those triggered by hand among them, the newest first."""
        with self.asking(f"the schedule {id}"):
            return self._runs_of(self._get(id), limit)

    def _runs_of(self, schedule: Any, limit: int) -> list[RunState]:
        ticked = self.runs_of(f'schedule_name="{schedule["name"]}"', limit)
        triggered = self.runs_of(f'labels.{SCHEDULE}="{_id(schedule)}"', limit)
        runs = [*ticked, *triggered]
        return sorted(runs, key=lambda run: run.created or datetime.min.replace(tzinfo=UTC), reverse=True)[:limit]

    def _get(self, id: str) -> Any:
        return self.session.get(self.url("schedules", id))

    def _schedule(self, job: Any, timing: Timing, name: str) -> dict[str, Any]:
        moments = {"startTime": timing.start, "endTime": timing.end}
        return {
            "displayName": name,
            "cron": f"TZ={timing.timezone} {timing.cron}",
            "createPipelineJobRequest": {"parent": self.connection.parent, "pipelineJob": job},
            "maxConcurrentRunCount": timing.max_active,
            "maxConcurrentActiveRunCount": timing.max_active,
            **{name: moment.isoformat() for name, moment in moments.items() if moment is not None},
        }

    def _state(self, schedule: Any) -> ScheduleState:
        job, id, cron = _job(schedule), _id(schedule), schedule["cron"]
        zone, cron = cron.split(" ", 1) if "TZ=" in cron else ("TZ=UTC", cron)
        active = schedule.get("maxConcurrentActiveRunCount") or schedule.get("maxConcurrentRunCount", 1)
        return ScheduleState(
            id=id,
            experiment=job.get("labels", {}).get(EXPERIMENT, schedule["displayName"]),
            target="vertex",
            timing=Timing(
                cron=cron,
                timezone=zone.partition("=")[2],
                start=states.moment(schedule, "startTime"),
                end=states.moment(schedule, "endTime"),
                max_active=int(active),  # 64-bit integers are strings in Google's JSON
                catch_up=_catch_up(schedule),
            ),
            status=_STATES.get(schedule.get("state"), "ended"),
            if_changed=bool(job.get("runtimeConfig", {}).get("parameterValues", {}).get("if_changed", False)),
            next=states.moment(schedule, "nextRunTime"),
            link=self.connection.schedule_link(id),
        )


def _job(schedule: Any) -> Any:
    return schedule["createPipelineJobRequest"]["pipelineJob"]


def _id(schedule: Any) -> str:
    return str(schedule["name"].rpartition("/")[2])


def _catch_up(schedule: Any) -> Literal["none", "all"]:
    return "all" if _job(schedule).get("labels", {}).get(CATCH_UP) == "all" else "none"
