"""What the platforms' own faults with loops would do to a compiled pipeline, and to a sweep that is rehearsed."""

from collections.abc import Iterator

import yaml

from elboflow.testing.platforms import quirks
from pipelines.experiment.kubeflow import KubeflowTarget
from pipelines.experiment.machines import VertexStep
from pipelines.experiment.vertex import VertexTarget
from pipelines.rehearsal import Flaw


def loops(specification: str, name: str, target: KubeflowTarget | VertexTarget) -> Iterator[Flaw]:
    """Yields what a platform does to the loops of a pipeline, and to steps in them.

    Args:
        specification: The compiled pipeline, as IR YAML.
        name: Of the target.
        target: Its section.
    """
    spec = next(yaml.load_all(specification, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    if quirks.has_loop_in_exit_handler(spec):
        yield Flaw("loop-in-exit-handler", "the pipeline", "a loop stands directly below the step that records the end",
                   "the run fails before its first step, without an error (kubeflow/pipelines#12390)",
                   "put the loop into a pipeline of its own")  # fmt: skip
    for step in sorted(quirks.retries_in_loops(spec)):
        settings = target.steps.get(step)
        if isinstance(settings, VertexStep) and settings.provisioning == "spot":
            yield Flaw("retries-ignored", f"targets.{name}.steps.{step}.provisioning",
                       f"spot, and {step} is in a loop, where the platform ignores retries (kubeflow/pipelines#12389)",
                       "a sweep of which one machine is taken away fails",
                       "provisioning: standard; or `elboflow runs retry RUN`: it trains what is missing")  # fmt: skip
