"""The requests to Vertex AI that runs and schedules share.

The generated clients of `google.cloud.aiplatform_v1` are used: `aiplatform.PipelineJob`, which stands on them, takes
three times as long to import, and asks for the project's number and the bucket, for minutes where they do not answer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

from pipelines.targets import RunState
from pipelines.targets.naming import unique
from pipelines.targets.patience import patiently
from pipelines.targets.vertex import states
from pipelines.targets.vertex.connection import Connection, credentials, explained, passing
from pipelines.targets.vertex.jobs import document
from pipelines.targets.vertex.services import service

Answer = TypeVar("Answer")

SETTINGS: dict[str, Any] = {"timeout": 60.0, "retry": None}
"""Of one request. `patiently` repeats it; the client's own policy for that differs from method to method."""


class API:
    """Vertex AI, asked as a connection says.

    Args:
        connection: Where, and as whom.
        reached: Called whenever Vertex AI has answered.
    """

    def __init__(self, connection: Connection, reached: Callable[[], None] = lambda: None) -> None:
        self.connection = connection
        self._reached = reached
        self._templates: dict[str, dict[str, Any]] = {}

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Surrounds requests: their errors become lines for a person."""
        with explained(self.connection, what, self._reached):
            yield

    def patiently(self, ask: Callable[[], Answer]) -> Answer:
        """Returns the answer to a request that is safe to repeat."""
        return patiently(ask, passing)

    @cached_property
    def credentials(self) -> Any:
        """Who asks."""
        return credentials(self.connection)

    @cached_property
    def jobs(self) -> Any:
        """The client of pipeline jobs."""
        return service("pipeline_service").PipelineServiceClient(**self._options)

    @cached_property
    def schedulers(self) -> Any:
        """The client of schedules."""
        return service("schedule_service").ScheduleServiceClient(**self._options)

    @property
    def _options(self) -> dict[str, Any]:
        from google.api_core.client_options import ClientOptions

        options = ClientOptions(api_endpoint=self.connection.address)
        return {"transport": "rest", "credentials": self.credentials, "client_options": options}

    def job_path(self, id: str) -> str:
        """Returns the resource name of a job."""
        return f"{self.connection.parent}/pipelineJobs/{id}"

    def job(self, id: str) -> Any:
        """Returns a job."""
        return self.patiently(lambda: self.jobs.get_pipeline_job(name=self.job_path(id), **SETTINGS))

    def specification(self, job: Any) -> dict[str, Any]:
        """Returns the pipeline of a job: its own, or that of the published version which it names instead.

        It is empty where the caller cannot read the version: the job is there all the same.
        """
        if (held := states.own(job)) or not job.template_uri:
            return held
        if job.template_uri not in self._templates:
            self._templates[job.template_uri] = self.patiently(lambda: self._template(job.template_uri))
        return self._templates[job.template_uri]

    def state(self, job: Any) -> RunState:
        """Returns a `PipelineJob` as a run."""
        return states.run_state(job, self.specification(job), self.connection)

    def _template(self, address: str) -> dict[str, Any]:
        from google.api_core.exceptions import from_http_response
        from google.auth.transport.requests import AuthorizedSession

        answer = AuthorizedSession(self.credentials).get(address, timeout=SETTINGS["timeout"])
        if answer.status_code in (403, 404):
            return {}
        if not answer.ok:
            raise from_http_response(answer)
        return document(answer.text)

    def start(self, wanted: Any, experiment: str) -> RunState:
        """Submits a job, once: its id is given here, and Vertex AI refuses a second job of the same id."""
        from google.api_core.exceptions import Conflict

        id, tried = unique(experiment), False

        def create() -> Any:
            nonlocal tried
            again, tried = tried, True
            request = {"parent": self.connection.parent, "pipeline_job": wanted, "pipeline_job_id": id}
            try:
                return self.jobs.create_pipeline_job(request, **SETTINGS)
            except Conflict:
                if not again:
                    raise
                return self.job(id)  # the connection broke after the first try had been received

        self.specification(wanted)  # now, since nothing may fail once the job has been started
        return self.state(self.patiently(create))

    def runs_of(self, filter: str, limit: int) -> list[RunState]:
        """Returns the latest runs of a filter, the newest first, without their steps."""
        request = {
            "parent": self.connection.parent,
            "filter": filter,
            "page_size": min(limit, 100),
            "order_by": "create_time desc",
            "read_mask": {"paths": states.LISTED},
        }
        found = self.patiently(lambda: [*islice(self.jobs.list_pipeline_jobs(request, **SETTINGS), limit)])
        return [states.run_state(job, {}, self.connection) for job in found]
