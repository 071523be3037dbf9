"""A graph as a platform's pipeline, in KFP's intermediate representation (IR YAML)."""

from collections.abc import Sequence
from typing import Any, Protocol

from kfp import compiler, dsl
from kfp.dsl import PipelineTask
from kfp.dsl.base_component import BaseComponent
from kfp.dsl.graph_component import GraphComponent

from elboflow.artifacts.temporary import temporary_folder
from pipelines.graphs import Graph, PipelineInputs, Take, full_name, steps

RUN = dsl.PIPELINE_JOB_NAME_PLACEHOLDER
"""What stands for the name of a run until the platform starts one."""


class Platform(Protocol):
    """How a platform runs steps: what each of them is there, and what its task gets."""

    def component(self, step: BaseComponent) -> BaseComponent:
        """Returns a step as a component of the platform, of the same name, inputs and outputs."""

    def place(self, task: PipelineTask, step: str) -> None:
        """Gives the task of a step its image, machine, environment and retries."""


def compiled(
    graph: Graph, values: PipelineInputs, platform: Platform, *, root: str | None = None, console: str = ""
) -> str:
    """Returns a graph as IR YAML, the same bytes for the same values.

    Around its steps, a platform gets the decision whether to run at all, and an exit task that records how the run
    ended. Whether to decide is the one parameter of the pipeline: `if_changed`.

    Args:
        platform: How the platform runs steps.
        root: Where the platform keeps the artifacts of runs, if the pipeline is to say so.
        console: What stands before a job's id in the address of its page; empty where that is not known.
    """
    pipeline = _guarded(graph, values, _take_on(platform), root, console)
    with temporary_folder() as folder:
        path = folder / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        return path.read_text(encoding="utf-8")


def _guarded(graph: Graph, values: PipelineInputs, take: Take, root: str | None, console: str) -> GraphComponent:
    def finished() -> Any:
        return take(
            steps.finish,
            cached=False,
            experiment=values.experiment,
            run=values.run,
            job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            console=console,
            notify=values.notify,
            tracking_uri=values.tracking_uri,
        )

    def always() -> None:
        with dsl.ExitHandler(finished()):
            graph.build(take, values)

    def unless_unchanged(if_changed: bool = False) -> None:
        with dsl.ExitHandler(finished()):
            decided = take(
                steps.decide,
                cached=False,
                data=values.data,
                experiment=values.experiment,
                if_changed=if_changed,
                run=values.run,
                job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                tracking_uri=values.tracking_uri,
            )
            with dsl.If(decided.outputs["Output"] == "run"):
                graph.build(take, values)

    decorate = dsl.pipeline(name=full_name(graph, values.name), description=graph.description, pipeline_root=root)
    return decorate(unless_unchanged if graph.skips else always)


def _take_on(platform: Platform) -> Take:
    def take(
        step: BaseComponent, *, cached: bool = True, after: Sequence[PipelineTask] = (), **inputs: Any
    ) -> PipelineTask:
        task = platform.component(step)(**inputs)
        platform.place(task, step.name)
        if not cached:
            task.set_caching_options(False)
        return task.after(*after) if after else task

    return take
