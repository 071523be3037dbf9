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
        from google.cloud.aiplatform_v1 import PipelineServiceClient

        return PipelineServiceClient(**self._options)

    @cached_property
    def schedulers(self) -> Any:
        """The client of schedules."""
        from google.cloud.aiplatform_v1 import ScheduleServiceClient

        return ScheduleServiceClient(**self._options)

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

        return states.run_state(self.patiently(create), self.connection)

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
        return [states.run_state(job, self.connection) for job in found]
