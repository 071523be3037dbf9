"""The containers of a run: each command in a process of this machine, its output in a log of its own.

A step made by google-cloud-pipeline-components is a launcher. What that does is done here: it creates the custom job
that its payload says, over the API, and follows it to its end.
"""

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from elboflow.testing.platforms.jobs import PREFIXES, SubmittedRun
from elboflow.testing.platforms.mlflow_plugin import Recorded

LAUNCHER = "google_cloud_pipeline_components.container.v1.custom_job.launcher"
MOUNT = Path(__file__).parent / "mount"
_KINDS = pb.ParameterType.ParameterTypeEnum
_OF_A_REHEARSAL = {_KINDS.BOOLEAN: "true", _KINDS.NUMBER_INTEGER: "1", _KINDS.NUMBER_DOUBLE: "1", _KINDS.LIST: "[]",
                   _KINDS.STRUCT: "{}"}  # fmt: skip


@dataclass
class Task:
    """A step, or a part of several, at work.

    Attributes:
        number: From 1, in the order in which tasks begin.
        name: In the specification.
        path: Its name, behind those of the parts that it is in.
        log: What it prints.
        executor: The executor's label in the specification.
        parameters: Its output parameters, each with its type and the file to write it to.
        artifacts: Its output artifacts, each as a list, as JSON values.
        output_file: Where an executor writes what it has made.
        attempts: How often it was started.
    """

    number: int
    name: str
    path: str
    log: Path
    executor: str = ""
    parameters: dict[str, tuple[int, str]] = field(default_factory=dict)
    artifacts: dict[str, Any] = field(default_factory=dict)
    output_file: str = ""
    attempts: int = 0


def surroundings(environment: dict[str, str], mounts: dict[str, str]) -> dict[str, str]:
    """Returns the environment of a container: `python3` is this Python, and buckets are mounted."""
    prefixes = {PREFIXES[scheme]: folder for scheme, folder in mounts.items()}
    python = str(Path(sys.executable).parent)
    return {
        **os.environ,
        **environment,
        "PATH": f"{python}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(MOUNT),
        "WIRE_MOUNT_PREFIXES": json.dumps(prefixes),
    }


class Containers:
    """Executes the containers of one run."""

    def __init__(self, run: SubmittedRun) -> None:
        self._run = run
        self._steps = 0

    def execute(self, task: Task, command: list[str], environment: dict[str, str]) -> int:
        """Runs a step's command and returns its exit code."""
        if task.attempts == 1:
            self._steps += 1
        broken = self._run.broken.get(str(self._steps)) or self._run.broken.get(task.name)
        if broken == "hangs":
            command = ["sleep", "3600"]
        elif broken == "fails":
            _say(task, "[elboflow] error: broken on purpose")
            return 1
        elif broken == "is killed" and task.attempts == 1:
            return -9
        elif self._run.rehearsed:
            return self._rehearse(task)
        elif LAUNCHER in command:
            return self._launch(task, command)
        given = {**self._run.environment, **environment, **self._run.secrets.get(task.executor, {})}
        recorded = Recorded(**self._run.mlflow).below(task.path) if self._run.mlflow else None
        if recorded is not None:
            given |= recorded.variables(f"{task.name}-{task.number}")
        with task.log.open("ab") as log:
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            done = subprocess.run(command, env=surroundings(given, self._run.mounts), cwd=self._run.folder, **streams)
        if recorded is not None:
            recorded.end("failed" if done.returncode else "succeeded")
        return done.returncode

    def _rehearse(self, task: Task) -> int:
        _say(task, f"[elboflow] rehearsing {task.name}")
        time.sleep(self._run.step_seconds)
        Path(task.output_file).write_text(json.dumps({"artifacts": task.artifacts}), encoding="utf-8")
        for kind, file in task.parameters.values():
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(
                _OF_A_REHEARSAL.get(kind) or self._run.answers.get(task.name, "rehearsed"), encoding="utf-8"
            )
        return 0

    def _launch(self, task: Task, command: list[str]) -> int:
        given = dict(zip(command[4::2], command[5::2], strict=True))
        parent = f"projects/{given['--project']}/locations/{given['--location']}"
        payload = json.loads(given["--payload"])
        scheduling = payload["job_spec"]["scheduling"]
        if scheduling.get("strategy") != "FLEX_START":
            scheduling.pop("max_wait_duration", None)  # as the launcher does
        try:
            job = self._ask(f"{self._run.api}/v1/{parent}/customJobs", payload)
            resource = {"resourceType": "CustomJob", "resourceUri": f"{self._run.api}/v1/{job['name']}"}
            Path(given["--gcp_resources"]).parent.mkdir(parents=True, exist_ok=True)
            Path(given["--gcp_resources"]).write_text(json.dumps({"resources": [resource]}), encoding="utf-8")
            _say(task, f"CustomJob created. Resource name: {job['name']}")
            while job["state"] in ("JOB_STATE_PENDING", "JOB_STATE_RUNNING"):
                time.sleep(0.2)
                job = self._ask(f"{self._run.api}/v1/{job['name']}")
        except urllib.error.HTTPError as error:
            _say(task, f"{error}: {error.read().decode()}")
            return 1
        _say(task, f"{job['name']}: {job['state']} {job.get('error', {}).get('message', '')}")
        return 0 if job["state"] == "JOB_STATE_SUCCEEDED" else 1

    def _ask(self, url: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._run.token}"}
        headers["X-Wire-Run"] = self._run.name  # so that a cancelled run takes its custom jobs with it
        context = ssl.create_default_context(cafile=self._run.ca)
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), context=context) as reply:
            return json.load(reply)


def _say(task: Task, line: str) -> None:
    with task.log.open("a") as log:
        log.write(f"{line}\n")
