"""Kubeflow's recurring runs. Their ticks come when a test says so: `KubeflowServer.tick`."""

from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any

from elboflow.testing.platforms.clock import now
from elboflow.testing.platforms.cron import Cron
from elboflow.testing.platforms.kubeflow_api import KubeflowAPI, new_id, strict, written
from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.wire import route

_ENDS = ("start_time", "end_time")
_FIELDS = ("recurring_run_id", "display_name", "created_at", "updated_at", "description", "experiment_id", "namespace")


class Schedules(KubeflowAPI, ABC):
    """The recurring runs.

    Attributes:
        schedules: By their ids.
        timezone: That of all schedules, as CRON_SCHEDULE_TIMEZONE of the controller says.
    """

    timezone: str = "UTC"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.schedules: dict[str, dict[str, Any]] = {}

    @abstractmethod
    def start(self, body: dict[str, Any], scheduled: datetime | None = None) -> Any:
        """Executes a run, which is checked first, and was meant for a time."""

    @abstractmethod
    def checked(self, body: dict[str, Any]) -> Any:
        """Refuses a run that could not be executed."""

    def tick(self, id: str, time: datetime | None = None) -> Any:
        """Lets the recurring run's time come, now or late: a run is executed."""
        schedule = self._schedule(id)
        copied = {"pipeline_spec", "pipeline_version_reference", "runtime_config", "service_account", "experiment_id"}
        body = {key: value for key, value in schedule.items() if key in copied}
        name = f"{schedule['display_name']}-{now():%Y%m%d%H%M%S%f}"
        return self.start({**body, "display_name": name, "recurring_run_id": id}, time or now())

    def next_tick(self, id: str) -> datetime | None:
        """Returns when the recurring run's time comes next; None where it does not any more."""
        trigger = self._schedule(id)["trigger"]["cron_schedule"]
        start, end = (datetime.fromisoformat(trigger[key]) if trigger.get(key) else None for key in _ENDS)
        cron = Cron(f"TZ={self.timezone} {trigger['cron'].split(maxsplit=1)[1]}", sunday=6)
        tick = cron.after(max(now(), start or now()))
        return None if tick is None or (end is not None and tick > end) else tick

    @route("POST", "/apis/v2beta1/recurringruns")
    def create_recurring_run(self, request: Request) -> Reply:
        """Makes a recurring run."""
        body = strict("V2beta1RecurringRun", request.json())
        if not body.get("display_name") or not 1 <= int(body.get("max_concurrency", 0)) <= 10:
            raise RefusedError(
                400, "Invalid input error: a recurring run needs a name and a max_concurrency of 1 to 10"
            )
        if body.get("mode") not in ("ENABLE", "DISABLE"):
            raise RefusedError(400, f"Invalid input error: invalid mode {body.get('mode')!r}")
        trigger = body.get("trigger", {})
        if len(trigger) != 1:
            raise RefusedError(400, "Invalid input error: a recurring run needs one trigger")
        if "cron_schedule" in trigger:
            _check(trigger["cron_schedule"]["cron"])
        self.checked(body)
        id = new_id()
        self.schedules[id] = {
            **body,
            "recurring_run_id": id,
            "max_concurrency": str(body["max_concurrency"]),
            "status": f"{body['mode']}D",
            "created_at": written(now()),
            "updated_at": written(now()),
        }
        return answer(self.schedules[id])

    @route("GET", "/apis/v2beta1/recurringruns/{id}")
    def get_recurring_run(self, request: Request, id: str) -> Reply:
        """Returns a recurring run."""
        return answer(self._schedule(id))

    @route("GET", "/apis/v2beta1/recurringruns")
    def list_recurring_runs(self, request: Request) -> Reply:
        """Lists recurring runs."""
        if request.one("namespace"):
            self.namespace(request.one("namespace"))
        found = list(self.schedules.values())
        if request.one("experiment_id"):
            found = [each for each in found if each["experiment_id"] == request.one("experiment_id")]
        return self.listed(request, "recurringRuns", found, _FIELDS)

    @route("POST", "/apis/v2beta1/recurringruns/{id}:enable")
    def enable_recurring_run(self, request: Request, id: str) -> Reply:
        """Lets a recurring run go on."""
        self._schedule(id).update(status="ENABLED", mode="ENABLE", updated_at=written(now()))
        return answer({})

    @route("POST", "/apis/v2beta1/recurringruns/{id}:disable")
    def disable_recurring_run(self, request: Request, id: str) -> Reply:
        """Pauses a recurring run."""
        self._schedule(id).update(status="DISABLED", mode="DISABLE", updated_at=written(now()))
        return answer({})

    @route("DELETE", "/apis/v2beta1/recurringruns/{id}")
    def delete_recurring_run(self, request: Request, id: str) -> Reply:
        """Deletes a recurring run; its runs stay."""
        self._schedule(id)
        del self.schedules[id]
        return answer({})

    def _schedule(self, id: str) -> dict[str, Any]:
        if id not in self.schedules:
            raise RefusedError(404, f"Recurring run {id} not found.")
        return self.schedules[id]


def _check(cron: str) -> None:
    """Refuses what Kubeflow's parser does: a timezone, which it takes for a field, and 7 for Sunday.

    Five fields, too, which it takes for six without the weekday: who sends them has forgotten the seconds.
    """
    fields = cron.split()
    if len(fields) != 6:
        raise _refused(f"Expected 5 to 6 fields, found {len(fields)}: {cron}")
    if not (fields[0].isdecimal() and int(fields[0]) < 60):
        raise _refused(f"the seconds {fields[0]!r} are none")
    try:
        Cron(" ".join(fields[1:]), sunday=6)
    except ValueError as error:
        raise _refused(str(error)) from None


def _refused(reason: str) -> RefusedError:
    return RefusedError(400, f"Invalid input error: Schedule cron is not a valid cron: {reason}")
