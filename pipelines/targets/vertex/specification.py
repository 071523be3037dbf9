"""Vertex AI Pipelines: the experiment compiled into a pipeline that Google Cloud takes."""

from dataclasses import dataclass

from kfp.dsl import PipelineTask
from kfp.dsl.base_component import BaseComponent

from elboflow.settings import RequestError
from elboflow.settings.variables import VERTEX_ENDPOINT
from pipelines.experiment import Experiment
from pipelines.secrets import PREFIX
from pipelines.targets.config import VertexTarget
from pipelines.targets.images import image_for
from pipelines.targets.machines import VertexStep
from pipelines.targets.placement import environment, placed, retried
from pipelines.training import compiled
from preprocessing.engines import Engine
from preprocessing.engines.dataflow import Dataflow
from preprocessing.engines.flink import Flink


def specification(experiment: Experiment) -> str:
    """Returns the pipeline's IR YAML. Its defaults are the experiment, so that it can be run as it is.

    Datasets are kept by their digest under the root, where later runs find them.

    Raises:
        RequestError: The experiment has no targets.vertex.
    """
    target = experiment.targets.vertex
    if target is None:
        needed = "`project`, `location`, `root`, `image` and `tracking_uri`"
        raise RequestError(f"targets.vertex: missing; compiling for vertex needs its {needed}")
    return compiled(
        placed(experiment, "vertex"),
        Machines(target, experiment.name),
        dataset_root=f"{target.root}/datasets",
        tracking_uri=target.tracking_uri,
        runner=runner(target),
        root=target.root,
    )


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
        settings = self._settings(step.name)
        if not settings.is_custom_job:
            return step
        from pipelines.targets.vertex.custom_job import custom_job

        return custom_job(step, settings, self.target, self.experiment, self.environment(step.name))

    def place(self, task: PipelineTask, step: str) -> None:
        settings = self._settings(step)
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

    def _settings(self, step: str) -> VertexStep:
        target = self.target
        own = {"preprocess": target.preprocess, "train": target.train, "evaluate": target.evaluate}
        return {**own, "register": target.registration}.get(step, VertexStep())

    def environment(self, step: str) -> dict[str, str]:
        """Returns the environment variables of a step; those of secrets hold references."""
        secrets = {name: f"{PREFIX}{version}" for name, version in self.target.secrets.items()}
        asked = {VERTEX_ENDPOINT: self.target.endpoint} if self.target.endpoint and step == "finish" else {}
        return {**environment(step, self._settings(step)), **secrets, **asked}
