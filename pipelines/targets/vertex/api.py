"""The requests to Vertex AI that runs and schedules share: https://cloud.google.com/vertex-ai/docs/reference/rest."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import islice
from typing import Any
from urllib.parse import quote

from components.surroundings import google, retries
from pipelines.targets import RunState
from pipelines.targets.tasks import unique
from pipelines.targets.vertex import states
from pipelines.targets.vertex.connection import Connection, explained
from pipelines.targets.vertex.states import document

OPERATION_SECONDS = 60
"""How long an operation, such as a schedule's deletion, may take."""


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

    def asking(self, what: str) -> AbstractContextManager[None]:
        """Surrounds requests: their errors become lines for a person."""
        return explained(self.connection, self.connection.remedies, what, self._reached)

    @cached_property
    def session(self) -> google.Session:
        """The session of all requests."""
        return self.connection.session()

    def url(self, *resource: str, version: str = "v1") -> str:
        """Returns the address of a resource of the project: `url("pipelineJobs", id)`."""
        place = f"https://{self.connection.address}/{version}/{self.connection.parent}"
        return "/".join((place, *map(_quoted, resource)))

    def job(self, id: str) -> Any:
        """Returns a `PipelineJob`, as JSON values."""
        return self.session.get(self.url("pipelineJobs", id))

    def specification(self, job: Any) -> dict[str, Any]:
        """Returns the pipeline of a job: its own, or that of the published version which it names instead.

        It is empty where the caller cannot read the version: the job is there all the same.
        """
        uri = job.get("templateUri")
        if "pipelineSpec" in job or not uri:
            return job.get("pipelineSpec") or {}
        if uri not in self._templates:
            try:
                self._templates[uri] = document(self.session.retried("GET", uri).text)
            except google.GoogleError as error:
                if error.status not in (403, 404):
                    raise
                self._templates[uri] = {}
        return self._templates[uri]

    def state(self, job: Any) -> RunState:
        """Returns a `PipelineJob` as a run."""
        return states.run_state(job, self.specification(job), self.connection)

    def start(self, wanted: Any, experiment: str, version: str = "v1") -> RunState:
        """Submits a job, once: its id is given here, and Vertex AI refuses a second job of the same id.

        Args:
            wanted: The `PipelineJob`, as JSON values.
            experiment: The experiment's name.
            version: The version of the API that knows all its fields.
        """
        id, tried = unique(experiment), False

        def create() -> Any:
            nonlocal tried
            again, tried = tried, True
            try:
                return self.session.request(
                    "POST", self.url("pipelineJobs", version=version), params={"pipelineJobId": id}, json=wanted
                ).json()
            except google.GoogleError as error:
                if error.status != 409 or not again:
                    raise
                return self.job(id)  # the answer to the first try was lost, and the job was made

        self.specification(wanted)  # now, since nothing may fail once the job has been started
        return self.state(retries.retried(create, google.delay))

    def runs_of(self, filter: str, limit: int) -> list[RunState]:
        """Returns the latest runs of a filter, the newest first, without their steps."""
        order = {"orderBy": "create_time desc", "readMask": states.LISTED, "pageSize": str(min(limit, 100))}
        found = self.listed("pipelineJobs", filter=filter, **order)
        return [states.run_state(job, {}, self.connection) for job in islice(found, limit)]

    def listed(self, what: str, **query: str) -> Iterator[Any]:
        """Yields the resources of a kind, page by page."""
        return google.pages(lambda token: self.session.get(self.url(what), **query, **token), what)

    def wait(self, operation: Any) -> None:
        """Waits until an operation is done."""
        deadline = time.monotonic() + OPERATION_SECONDS
        while not operation.get("done") and time.monotonic() < deadline:
            time.sleep(1)
            operation = self.session.get(f"https://{self.connection.address}/v1/{operation['name']}")
        if "error" in operation:
            raise google.GoogleError(500, operation["error"].get("message", "the operation failed"))


def _quoted(part: str) -> str:
    return quote(part, safe=":")
