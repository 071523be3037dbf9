"""Kubeflow's recurring runs. Their ticks come when a test says so: `KubeflowServer.tick`."""

from typing import Any

from tests.servers.cron import Cron
from tests.servers.execution import now
from tests.servers.kubeflow_api import KubeflowAPI, new_id, strict, written
from tests.servers.wire import RefusedError, Reply, Request, answer, route

_FIELDS = ("recurring_run_id", "display_name", "created_at", "updated_at", "description", "experiment_id", "namespace")


class Schedules(KubeflowAPI):
    """The recurring runs.

    Attributes:
        schedules: By their ids.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.schedules: dict[str, dict[str, Any]] = {}

    def start(self, body: dict[str, Any]) -> Any:
        """Executes a run, which is checked first."""
        raise NotImplementedError  # the server that inherits this class does it

    def checked(self, body: dict[str, Any]) -> Any:
        """Refuses a run that could not be executed."""
        raise NotImplementedError  # the server that inherits this class does it

    def tick(self, id: str) -> Any:
        """Lets the recurring run's time come: a run is executed now."""
        schedule = self._schedule(id)
        copied = {"pipeline_spec", "pipeline_version_reference", "runtime_config", "service_account", "experiment_id"}
        body = {key: value for key, value in schedule.items() if key in copied}
        name = f"{schedule['display_name']}-{now():%Y%m%d%H%M%S%f}"
        return self.start({**body, "display_name": name, "recurring_run_id": id})

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
