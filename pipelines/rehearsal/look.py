"""What is looked at for flaws."""

from dataclasses import dataclass
from datetime import datetime

from pipelines.experiment import Experiment
from pipelines.experiment.kubeflow import KubeflowTarget
from pipelines.experiment.machines import KubernetesStep, VertexStep
from pipelines.experiment.vertex import VertexTarget
from pipelines.rehearsal.inventory import Inventory
from pipelines.timing import Timing

STEPS = ("preprocess", "train", "evaluate", "register")


@dataclass(frozen=True)
class Look:
    """What is looked at.

    Attributes:
        experiment: As it would run.
        name: Of the target: `kubeflow` or `vertex`.
        target: Its section.
        timing: When it would run.
        if_changed: Whether nights without a change would be skipped.
        inventory: What exists at the platform.
        now: When the schedule is made.
    """

    experiment: Experiment
    name: str
    target: KubeflowTarget | VertexTarget
    timing: Timing
    if_changed: bool
    inventory: Inventory
    now: datetime

    def step(self, step: str) -> KubernetesStep | VertexStep:
        return self.target.step(step)

    def key(self, *keys: str) -> str:
        return ".".join(["targets", self.name, *keys])
