"""Vertex AI Pipelines: runs are pipeline jobs, schedules are schedules, and logs are in Cloud Logging."""

from collections.abc import Iterator
from typing import Any

from elboflow.settings import RequestError
from pipelines.targets import ENDED, Job, RunState, require_failed
from pipelines.targets.vertex import logs, states
from pipelines.targets.vertex.schedules import Schedules
from pipelines.targets.vertex.states import EXPERIMENT, pipeline_job, rerun


class VertexClient(Schedules):
    """The target `vertex`."""

    name = "vertex"

    def submit(self, job: Job) -> RunState:
        """Starts a run, once, also where the submission has to be repeated."""
        with self.asking(f"the run of {job.name}"):
            return self.start(pipeline_job(job, self.connection), job.name)

    def run(self, id: str) -> RunState:
        """Returns a run."""
        with self.asking(f"the run {id}"):
            return self.state(self.job(id))

    def runs(self, limit: int = 20) -> list[RunState]:
        """Returns the latest runs of ELBOflow's, the newest first, without their steps."""
        with self.asking("runs"):
            return self.runs_of(f"labels.{EXPERIMENT}:*", limit)

    def logs(self, id: str, step: str | None = None) -> Iterator[str]:
        """Yields the lines of a run's log, or of one step's, from Cloud Logging."""
        with self.asking(f"the run {id}"):
            found = self.job(id)
            tasks = states.tasks(found, self.specification(found))
        if step is not None and step not in tasks:
            started = ", ".join(tasks) or "none"
            raise RequestError(f"the run {id} has no step {step!r} that has begun; those that have: {started}")
        for name, job in tasks.items():
            if step in (None, name) and job is not None:
                with self.asking(f"the log of {name}"):
                    for line in logs.lines(self.session, self.connection.project, job):
                        yield f"{name}: {line}" if step is None else line

    def compiled(self, id: str) -> dict[str, Any]:
        """Returns the pipeline of a run, as JSON values; empty where it is not known."""
        with self.asking(f"the run {id}"):
            return self.specification(self.job(id))

    def cancel(self, id: str) -> None:
        """Ends a run; without effect on one that has ended."""
        with self.asking(f"the run {id}"):
            if self.state(self.job(id)).status not in ENDED:
                self.session.post(self.url("pipelineJobs", f"{id}:cancel"), {})

    def retry(self, id: str) -> RunState:
        """Repeats a run that failed or was cancelled, as a new run that takes over what its finished steps made."""
        with self.asking(f"the retry of the run {id}"):
            failed = self.job(id)
            state = self.state(failed)
            require_failed(state)
            return self.start(rerun(failed, self.specification(failed)), state.experiment, "v1beta1")
