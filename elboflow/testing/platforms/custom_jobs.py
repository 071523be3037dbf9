"""Vertex AI's custom jobs: every replica of every worker pool is a process of this machine."""

import json
import os
import signal
import subprocess
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from google.cloud.aiplatform_v1 import types

from elboflow.testing.platforms.clock import now
from elboflow.testing.platforms.containers import surroundings
from elboflow.testing.platforms.google_identity import GoogleIdentity
from elboflow.testing.platforms.messages import RefusedError, Reply, Request
from elboflow.testing.platforms.vertex_api import PLACE, GoogleAPI, parsed, stamp
from elboflow.testing.platforms.wire import free_port, route


class CustomJob:
    """A custom job at work.

    Attributes:
        name: Its resource name.
        message: The `CustomJob` protobuf, as it was created.
        state: The name of a `JobState`.
        log: What all its replicas print.
        owner: The pipeline job that launched it.
        error: Why it failed.
    """

    def __init__(
        self, name: str, message: Any, folder: Path, mounts: dict[str, str], environment: dict[str, str], owner: str
    ) -> None:
        self.name, self.message, self.owner = name, message, owner
        self.state = "JOB_STATE_PENDING"
        self.error = ""
        self.log = folder / f"{name.rpartition('/')[2]}.log"
        self.created: datetime = now()
        self.started: datetime | None = None
        self.ended: datetime | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        threading.Thread(target=self._work, args=(folder, mounts, environment), daemon=True).start()

    def cancel(self) -> None:
        """Ends it and its processes."""
        with self._lock:
            if self.ended is None:
                self.state, self.ended = "JOB_STATE_CANCELLED", now()
            for process in self._processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _work(self, folder: Path, mounts: dict[str, str], environment: dict[str, str]) -> None:
        pools = self.message.job_spec.worker_pool_specs
        cluster = {
            f"workerpool{index}": [f"127.0.0.1:{free_port()}" for _ in range(max(1, pool.replica_count))]
            for index, pool in enumerate(pools)
        }
        with self.log.open("ab") as log, self._lock:
            self.state, self.started = "JOB_STATE_RUNNING", now()
            for index, pool in enumerate(pools):
                for replica in range(max(1, pool.replica_count)):
                    if self.ended is None:
                        task = {"type": f"workerpool{index}", "index": replica}
                        container = pool.container_spec
                        given = {variable.name: variable.value for variable in container.env}
                        given["CLUSTER_SPEC"] = json.dumps({"cluster": cluster, "environment": "cloud", "task": task})
                        process = subprocess.Popen(
                            [*container.command, *container.args],
                            env=surroundings({**environment, **given}, mounts),
                            cwd=folder,
                            stdin=subprocess.DEVNULL,
                            stdout=log,
                            stderr=subprocess.STDOUT,
                            start_new_session=True,
                        )
                        self._processes.append(process)
        codes = [process.wait() for process in self._processes]
        with self._lock:
            if self.ended is None:
                failed = next((code for code in codes if code), 0)
                self.state = "JOB_STATE_FAILED" if failed else "JOB_STATE_SUCCEEDED"
                if failed:
                    self.error = f"The replica workerpool0-0 exited with a non-zero status of {failed}."
                self.ended = now()


class CustomJobs(GoogleAPI):
    """The custom jobs of a project.

    Attributes:
        custom_jobs: By their ids.
    """

    def __init__(
        self,
        project: str,
        location: str,
        token: str | None,
        folder: Path,
        mounts: dict[str, str],
        environment: dict[str, str],
        identity: GoogleIdentity | None = None,
    ) -> None:
        super().__init__(project, location, token, identity)
        self.custom_jobs: dict[str, CustomJob] = {}
        self._folder, self._mounts, self._environment = folder, mounts, environment

    @route("POST", f"{PLACE}/customJobs")
    def create_custom_job(self, request: Request, project: str, location: str) -> Reply:
        """Takes a custom job and executes it."""
        self.here(project, location)
        message, id = parsed(types.CustomJob, request.json()), str(self.next_number())
        pools = message.job_spec.worker_pool_specs
        if not message.display_name or not pools or not pools[0].machine_spec.machine_type:
            raise RefusedError(400, "A custom job needs a display name and worker pools with machine types.")
        message.name = f"{self.parent}/customJobs/{id}"
        owner = request.headers.get("x-wire-run", "")
        self.custom_jobs[id] = CustomJob(message.name, message, self._folder, self._mounts, self._environment, owner)
        return self.shown(request, self._custom_job(id))

    @route("GET", f"{PLACE}/customJobs/{{id}}")
    def get_custom_job(self, request: Request, project: str, location: str, id: str) -> Reply:
        """Returns a custom job."""
        self.here(project, location)
        return self.shown(request, self._custom_job(id))

    def _custom_job(self, id: str) -> Any:
        if id not in self.custom_jobs:
            raise RefusedError(404, f"The CustomJob does not exist: {self.parent}/customJobs/{id}")
        job = self.custom_jobs[id]
        message = type(job.message)()
        message.CopyFrom(job.message)
        message.state = getattr(types.JobState, job.state)
        message.create_time.CopyFrom(stamp(job.created))
        if job.error:
            message.error.message = job.error
        return message
