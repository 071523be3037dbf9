"""A compiled pipeline, read back as what it means: KFP's, Kubernetes' and Vertex AI's own messages."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml
from google.protobuf import json_format
from kfp import components
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.local import graph_utils
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from pipelines.experiment import load
from pipelines.targets.submission import specification

TARGETS = {
    "kubeflow": "{image: 'registry.example/elboflow:1', tracking_uri: 'https://mlflow.example'}",
    "vertex": (
        "{project: vae-project, location: europe-west4, image: 'registry.example/elboflow:1', "
        "tracking_uri: 'https://mlflow.example', root: 'gs://bucket/vae'}"
    ),
}
IMAGES = {kind: f"registry.example/elboflow-{kind}:1" for kind in ("cpu", "cuda", "tpu")}
WORK = ["preprocess", "train", "evaluate", "register"]


def compiled(target: str, *assignments: str) -> "Compiled":
    """Returns the digits compiled for a target, with the given settings."""
    experiment = load("digits", [f"targets.{target}={TARGETS[target]}", *assignments])
    return Compiled(specification(experiment, target))


def images(target: str) -> str:
    """Returns the setting that gives a target one image for each kind of machine."""
    return f"targets.{target}.image={yaml.safe_dump(IMAGES, default_flow_style=True)}"


@dataclass(frozen=True)
class Compiled:
    text: str

    @cached_property
    def documents(self) -> Sequence[dict[str, Any]]:
        return list(yaml.safe_load_all(self.text))

    @cached_property
    def spec(self) -> PipelineSpec:
        components.load_component_from_text(self.text)  # KFP itself takes it
        return json_format.ParseDict(self.documents[0], PipelineSpec())

    def pod(self, step: str) -> KubernetesExecutorConfig:
        """Returns what kfp-kubernetes says of a step's pod."""
        executors: dict[str, Any] = {}
        for document in self.documents[1:]:  # there is none where nothing is asked of a pod
            platform = json_format.ParseDict(document, PlatformSpec()).platforms["kubernetes"]
            executors = json_format.MessageToDict(platform)["deploymentSpec"]["executors"]
        return json_format.ParseDict(executors.get(f"exec-{step}", {}), KubernetesExecutorConfig())

    def within(self, dag: str) -> dict[str, Any]:
        """Returns the tasks of a graph inside the pipeline."""
        return dict(self.spec.components[f"comp-{dag}"].dag.tasks)

    @property
    def tasks(self) -> dict[str, Any]:
        """The tasks that run containers, wherever they stand."""
        graphs = [self.spec.root.dag, *(component.dag for component in self.spec.components.values())]
        every = {name: task for graph in graphs for name, task in graph.tasks.items()}
        return {
            name: task for name, task in every.items() if self.spec.components[task.component_ref.name].executor_label
        }

    @property
    def order(self) -> list[str]:
        """The steps of the work, in an order in which they can run."""
        stack = graph_utils.topological_sort_tasks(self.within("condition-2"))
        return [stack.pop() for _ in range(len(stack))]

    def container(self, step: str) -> dict[str, Any]:
        executors = json_format.MessageToDict(self.spec.deployment_spec)["executors"]
        return executors[f"exec-{step}"]["container"]

    def environment(self, step: str) -> dict[str, str]:
        return {variable["name"]: variable.get("value", "") for variable in self.container(step).get("env", ())}

    def is_custom_job(self, step: str) -> bool:
        return "--payload" in self.container(step).get("args", ())

    def custom_job(self, step: str) -> Any:
        """Returns the `CustomJob` that a step asks for, as Vertex AI's own message."""
        from google.cloud.aiplatform_v1.types import CustomJob

        arguments = self.container(step)["args"]
        payload = arguments[arguments.index("--payload") + 1]
        definitions = self.spec.components[f"comp-{step}"].input_definitions.parameters

        def value(match: re.Match[str]) -> str:
            parameter = definitions[match[1]]
            given = json_format.MessageToDict(parameter.default_value)
            if given is None:
                return "[]" if match[1] == "reserved_ip_ranges" else "{}"
            return given if isinstance(given, str) else json.dumps(given)

        filled = re.sub(r"\{\{\$\.inputs\.parameters\['(\w+)'\]\}\}", value, payload)
        return json_format.ParseDict(json.loads(filled), CustomJob.pb(CustomJob()))

    def pools(self, step: str) -> list[Any]:
        return list(self.custom_job(step).job_spec.worker_pool_specs)

    def given(self, parameter: str) -> Any:
        """Returns what the steps are given under a name, the same for all; JSON decoded where it is JSON."""
        found = {
            str(json_format.MessageToDict(task.inputs.parameters[parameter].runtime_value.constant))
            for task in self.tasks.values()
            if parameter in task.inputs.parameters
        }
        (value,) = found
        return json.loads(value) if value.startswith("{") else value
