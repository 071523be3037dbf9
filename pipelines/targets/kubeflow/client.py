"""Kubeflow Pipelines: runs, recurring runs, and the logs of pods, through `kfp.Client`."""

from collections.abc import Iterator
from typing import Any

from elboflow.settings import RequestError, WorkError
from pipelines.targets import ENDED, Job, RunState, require_failed
from pipelines.targets.kubeflow import states
from pipelines.targets.kubeflow.api import pages
from pipelines.targets.kubeflow.schedules import Schedules
from pipelines.targets.tasks import unique


class KubeflowClient(Schedules):
    """The target `kubeflow`."""

    name = "kubeflow"

    def submit(self, job: Job) -> RunState:
        """Starts a run, once: it has a unique name, and is looked for before it is submitted again."""
        name = unique(job.name)
        with self.asking(f"the run of {job.name}"), self.source(job) as source:
            experiment = self.experiment(job.name)
            started = self.once(
                lambda: self.client.run_pipeline(
                    experiment,
                    name,
                    params=job.arguments,
                    service_account=self.connection.service_account,
                    **source,
                ),
                lambda: self._named(name),
            )
            return self.state(started)

    def run(self, id: str) -> RunState:
        """Returns a run."""
        with self.asking(f"the run {id}"):
            return self.state(self._run(id))

    def runs(self, limit: int = 20) -> list[RunState]:
        """Returns the latest runs of ELBOflow's, the newest first."""
        with self.asking("runs"):
            found = [run for experiment in self.experiments() for run in self._runs_in(experiment, limit)]
            newest = sorted(found, key=lambda run: run.created_at, reverse=True)[:limit]
            return [self.state(run) for run in newest]

    def logs(self, id: str, step: str | None = None) -> Iterator[str]:
        """Yields the lines of a run's log, or of one step's, from its pods or, where they are gone, the archive."""
        with self.asking(f"the run {id}"):
            run = self._run(id)
            pods = states.pods(run, self.specification(run))
        if step is not None and step not in pods:
            begun = ", ".join(pods) or "none"
            raise RequestError(f"the run {id} has no step {step!r} that has begun; those that have: {begun}")
        for name in [step] if step is not None else pods:
            for pod in pods[name]:
                for line in self._log(id, name, pod):
                    yield line if step is not None else f"{name}: {line}"

    def compiled(self, id: str) -> dict[str, Any]:
        """Returns the pipeline of a run, as JSON values; empty where it is not known."""
        with self.asking(f"the run {id}"):
            return self.specification(self._run(id))

    def cancel(self, id: str) -> None:
        """Ends a run; without effect on one that has ended."""
        with self.asking(f"the run {id}"):
            if self.state(self._run(id)).status not in ENDED:
                self.patiently(lambda: self.client.terminate_run(id))

    def retry(self, id: str) -> RunState:
        """Repeats a run that failed or was cancelled, as the same run: Kubeflow keeps the pods that succeeded."""
        with self.asking(f"the retry of the run {id}"):
            require_failed(self.state(self._run(id)))
            self.once(lambda: self.requests.run_service_retry_run(id), lambda: self._at_work(id))
            return self.state(self._run(id))

    def _runs_in(self, experiment: str, limit: int) -> list[Any]:
        return pages(
            lambda token: self.patiently(
                lambda: self.client.list_runs(
                    experiment_id=experiment, page_token=token, page_size=min(limit, 100), sort_by="created_at desc"
                )
            ),
            "runs",
            limit,
        )

    def _run(self, id: str) -> Any:
        return self.patiently(lambda: self.client.get_run(id))

    def _at_work(self, id: str) -> Any:
        run = self.client.get_run(id)
        return None if self.state(run).status in ENDED else run

    def _log(self, run: str, step: str, pod: str) -> list[str]:
        """Returns the log of a pod, by the one route of the API server that is in no client: that of its own UI."""
        from kfp_server_api import ApiException

        try:
            with self.asking(f"the log of {step}"):
                answer = self.raw("/apis/v1alpha1/runs/{run}/nodes/{pod}/log", run=run, pod=pod)
        except WorkError as error:
            if not isinstance(error.__cause__, ApiException):
                raise
            where = self.connection.link(run) or f"kubectl logs {pod} --namespace {self.connection.namespace}"
            raise WorkError(
                f"the log of {step} is gone with its pod, and there is no archive of it; see {where}"
            ) from error
        return str(answer.data.decode(errors="replace")).splitlines()
