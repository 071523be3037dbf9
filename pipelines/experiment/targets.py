"""The section `targets` of an experiment: where the pipeline may run, and on what."""

from typing import Annotated, ClassVar

from pydantic import Field

from elboflow.settings import Settings
from elboflow.settings.explain import Problem
from pipelines.experiment.kubeflow import KubeflowTarget
from pipelines.experiment.machines import Amount, LocalStep
from pipelines.experiment.steps import Image, StepName, TrackingURI
from pipelines.experiment.vertex import VertexTarget


class LocalTarget(Settings):
    """This machine."""

    main: ClassVar = "threads"
    threads: Annotated[int, Field(ge=1)] | None = Field(
        None, description="threads of each step; null: as many as there are cores"
    )
    memory: Amount | None = Field(None, description="the memory of a run, such as 4Gi; with less, the run warns")
    tracking_uri: TrackingURI | None = Field(
        None, description="the address of the MLflow server; null: that of the workspace"
    )
    image: Image | None = Field(None, description="the image of the containers of `run --docker`")
    steps: dict[StepName, LocalStep] = Field(
        default_factory=dict, description="the process of each step, by the step's name"
    )

    def step(self, name: str) -> LocalStep:
        """Returns what a step gets."""
        return self.steps.get(name, LocalStep())


class Targets(Settings):
    """Where the experiment may run, and on what."""

    local: LocalTarget = Field(LocalTarget(), description="runs on this machine")
    kubeflow: KubeflowTarget | None = Field(None, description="runs on Kubeflow Pipelines; null: not configured")
    vertex: VertexTarget | None = Field(None, description="runs on Vertex AI Pipelines; null: not configured")

    def unfit_for(self, backend: str) -> list[Problem]:
        """Returns the accelerators on which a model of that backend cannot be evaluated: TPUs know JAX only."""
        problems = []
        for name, target in (("kubeflow", self.kubeflow), ("vertex", self.vertex)):
            if target is None or backend == "jax":
                continue
            train, evaluate = target.step("train").accelerator, target.step("evaluate").accelerator
            if evaluate is None:
                continue
            if evaluate.of_kind.chip == "tpu" and (train is None or train.of_kind.chip != "tpu"):
                sentence = (
                    f"on {evaluate.kind}, a TPU, only JAX runs, and the model is trained with {backend}; train it on a "
                    "TPU too, or with `training.backend: jax`"
                )
                problems.append(Problem((name, "steps", "evaluate", "accelerator"), sentence))
        return problems
