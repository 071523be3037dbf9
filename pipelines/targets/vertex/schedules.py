"""Vertex AI's schedules: the half of the client that keeps them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from components.surroundings import google, retries
from elboflow.settings import RequestError
from pipelines.targets import Job, Naming, RunState, ScheduleState, taken
from pipelines.targets.tasks import recorded_in, require_date, unique
from pipelines.targets.vertex import states
from pipelines.targets.vertex.api import API
from pipelines.targets.vertex.states import CATCH_UP, DATE, EXPERIMENT, GROUP, JOB, NAME, SCHEDULE, pipeline_job
from pipelines.timing import Timing

LONGEST_LABEL = 63
"""Characters of a label's value, at most."""

_LATER = timedelta(days=365)
"""How long a schedule that is made paused would wait, as Vertex AI makes active ones alone."""

_STATES: dict[str, Literal["active", "paused", "ended"]] = {
    "ACTIVE": "active",
    "PAUSED": "paused",
    "COMPLETED": "ended",
}


class Schedules(API):
    """What a `VertexClient` can do with schedules."""

    def create_schedule(
        self, job: Job, timing: Timing, if_changed: bool, naming: Naming | None = None, *, paused: bool = False
    ) -> ScheduleState:
        """Creates a schedule of a job, once: each retry looks first for a schedule of the same, unique name.

        Missed ticks are those of a pause; Vertex AI makes up for all of them or for none.
        """
        with self.asking(f"the schedule of {job.name}"):
            if naming is not None and (other := self._named(naming.name)) is not None:
                raise RequestError(taken(naming.name, _id(other)))
            return self._state(self._create(self._schedule(job, timing, if_changed, naming), paused))

    def change_schedule(
        self, schedule: ScheduleState, job: Job, timing: Timing, if_changed: bool, naming: Naming, *, paused: bool
    ) -> ScheduleState:
        """Changes a schedule in place; one that has ended takes no change, and is replaced."""
        with self.asking(f"the schedule {naming.name}"):
            wanted = self._schedule(job, timing, if_changed, naming)
            if schedule.status == "ended":
                made = self._create(wanted, paused, replaces=schedule.id)
                self._delete(schedule.id)
                return self._state(made)
            if paused:
                self.pause(schedule.id)
            changed = self._patch(schedule.id, wanted)
            if not paused and schedule.status == "paused":
                self.resume(schedule.id)
                changed = self._get(schedule.id)
            return self._state(changed)

    def scheduled_experiment(self, id: str) -> dict[str, Any]:
        """Returns the experiment that a schedule's pipeline holds."""
        with self.asking(f"the schedule {id}"):
            return recorded_in(self.specification(_job(self._get(id))))

    def _create(self, wanted: dict[str, Any], paused: bool, replaces: str | None = None) -> Any:
        first = wanted
        if paused:
            later = (datetime.now(UTC) + _LATER).isoformat()
            first = {key: value for key, value in wanted.items() if key != "endTime"} | {"startTime": later}
        made = retries.created_once(
            lambda: self.session.request("POST", self.url("schedules"), json=first).json(),
            lambda: self._named(wanted["displayName"], replaces),
            google.delay,
        )
        if not paused:
            return made
        self.pause(_id(made))
        return self._patch(_id(made), wanted)

    def _patch(self, id: str, wanted: dict[str, Any]) -> Any:
        """Gives a schedule other values; its name stays."""
        # A field that the mask names and the body lacks is emptied.
        body = {"startTime": datetime.now(UTC).isoformat(), **wanted}
        del body["displayName"]
        mask = {"updateMask": ",".join(dict.fromkeys([*body, "endTime"]))}
        return self.session.retried("PATCH", self.url("schedules", id), params=mask, json=body).json()

    def _named(self, name: str, apart_from: str | None = None) -> Any:
        found = self.listed("schedules", filter=f'display_name="{name}"')
        return next((schedule for schedule in found if _id(schedule) != apart_from), None)

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
            schedule = self._get(id)
            if schedule["state"] == "ACTIVE":
                self.session.post(self.url("schedules", f"{_id(schedule)}:pause"), {})

    def resume(self, id: str) -> None:
        """Lets a paused schedule go on, and makes up for what the pause missed if it was created so."""
        with self.asking(f"the schedule {id}"):
            schedule = self._get(id)
            if schedule["state"] == "PAUSED":
                body = {"catchUp": _catch_up(schedule) == "all"}
                self.session.post(self.url("schedules", f"{_id(schedule)}:resume"), body)

    def trigger(self, id: str, date: str | None = None) -> RunState:
        """Runs a schedule's job now, besides its ticks; for a date where its pipeline has that parameter."""
        with self.asking(f"the schedule {id}"):
            schedule = self._get(id)
            wanted = _job(schedule)
            wanted["labels"][SCHEDULE] = _id(schedule)
            if date is not None:
                require_date(self.specification(wanted), id)
                wanted["labels"][DATE] = _as_label(date)
                wanted["runtimeConfig"].setdefault("parameterValues", {})["date"] = date
            return self.start(wanted, wanted["labels"][EXPERIMENT])

    def dated_runs(self, id: str) -> dict[str, RunState]:
        """Returns the latest run of each date that a backfill has run: Vertex AI does not tell those of ticks."""
        with self.asking(f"the schedule {id}"):
            schedule = self._get(id)
            require_date(self.specification(_job(schedule)), id)
            labelled = f'labels.{SCHEDULE}="{_id(schedule)}"'
            order = {"orderBy": "create_time desc", "readMask": states.LISTED, "pageSize": "100"}
            found: dict[str, RunState] = {}
            for job in self.listed("pipelineJobs", filter=labelled, **order):
                if (date := job.get("labels", {}).get(DATE)) is not None:
                    found.setdefault(_from_label(date), states.run_state(job, {}, self.connection))
            return found

    def delete(self, id: str) -> None:
        """Removes a schedule; its runs stay."""
        with self.asking(f"the schedule {id}"):
            self._delete(id if id.isdecimal() else _id(self._get(id)))

    def _delete(self, id: str) -> None:
        url = self.url("schedules", id)
        retries.removed_once(lambda: self.wait(self.session.request("DELETE", url).json()), google.delay)

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
        """Returns the schedule of an id, which is a number, or of a name."""
        if id.isdecimal() or (named := self._named(id)) is None:
            return self.session.get(self.url("schedules", id))
        return named

    def _schedule(self, job: Job, timing: Timing, if_changed: bool, naming: Naming | None) -> dict[str, Any]:
        if timing.catch_up == "last":
            raise RequestError(
                "Vertex AI makes up for none of the ticks that a pause missed, or for all: not for the last"
            )
        wanted = pipeline_job(job.scheduled(timing, if_changed), self.connection)
        wanted["labels"][CATCH_UP] = timing.catch_up
        if naming is not None:
            wanted["labels"] |= {NAME: naming.name, JOB: job.digest[:LONGEST_LABEL]}
            wanted["labels"] |= {GROUP: naming.group} if naming.group is not None else {}
        moments = {"startTime": timing.start, "endTime": timing.end}
        return {
            "displayName": unique(job.name) if naming is None else naming.name,
            "cron": f"TZ={timing.timezone} {timing.cron}",
            "createPipelineJobRequest": {"parent": self.connection.parent, "pipelineJob": wanted},
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
            name=job.get("labels", {}).get(NAME),
            group=job.get("labels", {}).get(GROUP),
            job=job.get("labels", {}).get(JOB),
        )


def _job(schedule: Any) -> Any:
    return schedule["createPipelineJobRequest"]["pipelineJob"]


def _id(schedule: Any) -> str:
    return str(schedule["name"].rpartition("/")[2])


def _as_label(date: str) -> str:
    """Returns a date as a label's value, which has neither capitals nor colons."""
    return date.lower().replace(":", "_")


def _from_label(value: str) -> str:
    return value.upper().replace("_", ":")


def _catch_up(schedule: Any) -> Literal["none", "all"]:
    return "all" if _job(schedule).get("labels", {}).get(CATCH_UP) == "all" else "none"
