"""The process that executes one submitted run: kfp's own local runner on the specification as it was submitted.

What a platform does and the local runner does not is added around it: artifacts keep their remote URIs and are
reached through a mount, the job's name is the same in all nested parts, the exit task is told what a platform tells
it, and each step's output goes to a log of its own. What happens is reported over a pipe.
"""

import json
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp import dsl, local
from kfp.dsl.executor import create_artifact_instance
from kfp.dsl.types import artifact_types
from kfp.local import executor_input_utils, placeholder_utils, status, subprocess_task_handler
from kfp.local.config import LocalExecutionConfig
from kfp.local.orchestrator import enhanced_dag_orchestrator, task_executor
from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils
from kfp.local.pipeline_orchestrator import run_local_pipeline
from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from elboflow.testing.platforms.containers import Containers, Task
from elboflow.testing.platforms.jobs import PREFIXES, SubmittedRun
from elboflow.testing.platforms.quirks import has_loop_in_exit_handler

ESCAPED_INPUT = "{{$.json_escape[1]}}"
Report = Callable[[dict[str, Any]], None]


class Engine:
    """Executes a run and reports what happens.

    Attributes:
        run: What was submitted.
        failed: The names of the steps that failed.
    """

    def __init__(self, run: SubmittedRun, report: Report) -> None:
        self.run, self.report = run, report
        self.failed: list[str] = []
        self._containers = Containers(run)
        self._thread = threading.local()  # ParallelFor runs steps in several threads
        self._lock = threading.Lock()
        self._last = 0

    def execute(self) -> bool:
        """Executes the run and returns whether it succeeded."""
        if has_loop_in_exit_handler(self.run.spec):
            return False  # no step begins, and nothing says why
        spec = json_format.ParseDict(self.run.spec, pb.PipelineSpec())
        scratch = Path(self.run.folder) / "scratch"
        scratch.mkdir()
        local.init(local.SubprocessRunner(use_venv=False), workspace_root=str(scratch))
        assert LocalExecutionConfig.instance is not None
        LocalExecutionConfig.instance.pipeline_root = self.run.root
        for scheme, folder in self.run.mounts.items():
            setattr(artifact_types, PREFIXES[scheme], folder)
        self._follow_steps()
        self._speak_as_a_platform()
        try:
            run_local_pipeline(spec, self.run.arguments)
        except RuntimeError as error:
            print(error, flush=True)
            return False
        return True

    def _follow_steps(self) -> None:
        single, any_task = task_executor.execute_single_task, enhanced_dag_orchestrator.execute_task

        def execute_single_task(**given: Any) -> Any:
            return self._followed(given["task_name"], "step", lambda: single(**given))

        def execute_task(**given: Any) -> Any:
            component = given["components"][given["task_spec"].component_ref.name]
            if component.WhichOneof("implementation") == "dag":
                return self._followed(given["task_name"], "part", lambda: any_task(**given))
            return any_task(**given)

        task_executor.execute_single_task = execute_single_task
        enhanced_dag_orchestrator.execute_task = execute_task
        subprocess_task_handler.run_local_subprocess = self._execute

    def _followed(self, name: str, kind: str, execute: Callable[[], Any]) -> Any:
        outer: Task | None = getattr(self._thread, "task", None)
        with self._lock:
            self._last += 1
            path = name if outer is None else f"{outer.path}.{name}"
            task = Task(self._last, name, path, Path(self.run.folder) / f"{self._last:02}-{name}.log")
        where = {"number": task.number, "path": path, "parent": None if outer is None else outer.number}
        if path in self.run.kept:
            self.report({"event": "kept", **where})
            return {key: _restored(value) for key, value in self.run.kept[path].items()}, status.Status.SUCCESS
        self._thread.task = task
        self.report({"event": "began", **where, "name": name, "kind": kind, "log": str(task.log)})
        outputs, ended = {}, status.Status.FAILURE
        try:
            outputs, ended = execute()
        finally:
            succeeded = ended == status.Status.SUCCESS
            if not succeeded and kind == "step":
                self.failed.append(name)
            left = {key: _plain(value) for key, value in outputs.items()}
            told = {"number": task.number, "succeeded": succeeded, "outputs": left, "attempts": task.attempts}
            self.report({"event": "ended", **told})
            self._thread.task = outer
        return outputs, ended

    def _execute(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        task: Task = self._thread.task
        task.attempts += 1
        return self._containers.execute(task, full_command, env_vars or {})

    def _speak_as_a_platform(self) -> None:
        construct, replace = executor_input_utils.construct_executor_input, placeholder_utils.replace_placeholders
        gather, sleep = OrchestratorUtils.make_task_arguments, task_executor.time.sleep

        def construct_executor_input(**given: Any) -> Any:
            made = construct(**given)
            places = made.outputs
            places.output_file = self.run.mounted(places.output_file)
            for parameter in places.parameters.values():
                parameter.output_file = self.run.mounted(parameter.output_file)
            Path(places.output_file).parent.mkdir(parents=True, exist_ok=True)
            Path(places.output_file).unlink(missing_ok=True)  # of an earlier attempt
            task: Task = self._thread.task
            component = given["component_spec"]
            task.executor = component.executor_label
            kinds = component.output_definitions.parameters
            task.parameters = {
                key: (kinds[key].parameter_type, value.output_file) for key, value in places.parameters.items()
            }
            task.output_file = places.output_file
            task.artifacts = {key: json_format.MessageToDict(value) for key, value in places.artifacts.items()}
            return made

        def replace_placeholders(**given: Any) -> list[str]:
            command = replace(**{**given, "pipeline_resource_name": self.run.name})
            escaped = json.dumps(json.dumps(given["executor_input_dict"]))[1:-1]
            return [word.replace(ESCAPED_INPUT, escaped) for word in command]

        def make_task_arguments(task_inputs_spec: Any, io_store: Any) -> dict[str, Any]:
            made: dict[str, Any] = gather(task_inputs_spec, io_store)
            for name, given in task_inputs_spec.parameters.items():
                if given.HasField("task_final_status"):
                    made[name] = self._final_status(made[name])
            return made

        class Hurried:
            sleep = staticmethod(lambda seconds: sleep(seconds * self.run.hurry))

        executor_input_utils.construct_executor_input = construct_executor_input
        executor_input_utils.get_local_pipeline_resource_name = lambda _: self.run.name
        placeholder_utils.replace_placeholders = replace_placeholders
        OrchestratorUtils.make_task_arguments = staticmethod(make_task_arguments)
        task_executor.time = Hurried
        subprocess_task_handler.replace_python_executable = lambda full_command, _: full_command
        handler = subprocess_task_handler.SubprocessTaskHandler
        handler.validate_image = handler.validate_not_container_component = lambda *_: None

    def _final_status(self, told: dict[str, Any]) -> dict[str, Any]:
        """Returns what an exit task is told, in the words of the platforms."""
        final: dict[str, Any] = {
            "state": told["state"],
            "pipelineJobResourceName": self.run.resource,
            "pipelineTaskName": told["pipeline_task_name"],
        }
        if told["error"]:
            failed = ", ".join(self.failed)
            message = f"The DAG failed because some tasks failed. The failed tasks are: [{failed}]."
            final["error"] = {"code": 9, "message": message}
        return final


def _plain(value: Any) -> Any:
    """Returns an output as JSON values."""
    if isinstance(value, list):
        return [_plain(element) for element in value]
    if not isinstance(value, dsl.Artifact):
        return value
    return {
        "artifact": {"name": value.name, "uri": value.uri, "schema": value.schema_title, "metadata": value.metadata}
    }


def _restored(value: Any) -> Any:
    """Returns an output from its JSON values."""
    if isinstance(value, list):
        return [_restored(element) for element in value]
    if not (isinstance(value, dict) and "artifact" in value):
        return value
    made = value["artifact"]
    return create_artifact_instance({**made, "type": {"schemaTitle": made["schema"]}})


def main(job: Path, events: Connection) -> None:
    """Executes the run that a file holds; events are dictionaries."""
    run = SubmittedRun(**json.loads(job.read_text(encoding="utf-8")))
    with open(Path(run.folder) / "engine.log", "wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    lock = threading.Lock()

    def report(event: dict[str, Any]) -> None:
        with lock:
            events.send(event)

    succeeded = False
    report({"event": "started"})
    try:
        succeeded = Engine(run, report).execute()
    finally:
        report({"event": "end", "succeeded": succeeded})
