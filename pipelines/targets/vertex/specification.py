"""Vertex AI Pipelines: the experiment compiled into a pipeline that Google Cloud takes."""

from dataclasses import dataclass

from kfp.dsl import PipelineTask
from kfp.dsl.base_component import BaseComponent

from elboflow.settings import RequestError
from elboflow.settings.variables import VERTEX_ENDPOINT
from pipelines.experiment import Experiment
from pipelines.experiment.steps import image_for
from pipelines.experiment.vertex import VertexTarget
from pipelines.graphs import Graph, Values
from pipelines.graphs.compile import RUN, compiled
from pipelines.step_process.secrets import PREFIX
from pipelines.targets.placement import environment, placed, retried
from preprocessing.engines import Engine
from preprocessing.engines.dataflow import Dataflow
from preprocessing.engines.flink import Flink


def specification(experiment: Experiment, graph: Graph) -> str:
    """Returns a pipeline's IR YAML.

    Datasets are kept by their digest under the root, where later runs find them.

    Raises:
        RequestError: The experiment has no targets.vertex, or asks for what is impossible there.
    """
    target = given(experiment)
    values = Values.of(
        placed(experiment, "vertex"),
        run=RUN,
        dataset_root=f"{target.root}/datasets",
        tracking_uri=target.tracking_uri,
        runner=runner(target),
    )
    return compiled(graph, values, Machines(target, experiment.name), root=target.root)


def given(experiment: Experiment) -> VertexTarget:
    """Returns what an experiment says of Vertex AI.

    Raises:
        RequestError: Nothing.
    """
    if experiment.targets.vertex is None:
        needed = "`project`, `location`, `root`, `image` and `tracking_uri`"
        raise RequestError(f"targets.vertex: missing; the pipeline needs its {needed}")
    return experiment.targets.vertex


def runner(target: VertexTarget) -> Engine:
    """Returns the Beam runner with what the target says of it: project, region, folder, image and key."""
    chosen, temporary = target.runner, f"{target.root}/temporary"
    if isinstance(chosen, Flink):
        return chosen.model_copy(update={"temporary": chosen.temporary or temporary})
    if isinstance(chosen, Dataflow):
        said = {
            "project": target.project,
            "region": target.location,
            "temporary": temporary,
            "image": image_for(target.image, None),
            "encryption_key": target.encryption_key,
        }
        return chosen.model_copy(update={key: value for key, value in said.items() if getattr(chosen, key) is None})
    return chosen


@dataclass(frozen=True)
class Machines:
    """Steps as Vertex AI runs them: on a machine that it chooses, or as custom jobs on a named one."""

    target: VertexTarget
    experiment: str

    def component(self, step: BaseComponent) -> BaseComponent:
        settings = self.target.step(step.name)
        if not settings.is_custom_job:
            return step
        from pipelines.targets.vertex.custom_job import custom_job

        return custom_job(step, settings, self.target, self.experiment, self.environment(step.name))

    def place(self, task: PipelineTask, step: str) -> None:
        settings = self.target.step(step)
        retried(task, settings.retry)
        if settings.is_custom_job:
            return  # the rest is in the custom job
        task.set_container_image(image_for(self.target.image, None))
        if settings.cpu is not None:
            task.set_cpu_limit(f"{settings.cpu:g}")
        if settings.memory is not None:
            task.set_memory_limit(settings.memory)
        for name, value in self.environment(step).items():
            task.set_env_variable(name, value)

    def environment(self, step: str) -> dict[str, str]:
        """Returns the environment variables of a step; those of secrets hold references."""
        secrets = {name: f"{PREFIX}{version}" for name, version in self.target.secrets.items()}
        asked = {VERTEX_ENDPOINT: self.target.endpoint} if self.target.endpoint and step == "finish" else {}
        return {**environment(step, self.target.step(step)), **secrets, **asked}
