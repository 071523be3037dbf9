"""A graph as a platform's pipeline, in KFP's intermediate representation (IR YAML)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
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
    ended. Whether to decide is a parameter of the pipeline, `if_changed`; so are the `date` and its `timezone`, where
    the locations of the data have a date.

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

    build = _in_a_pipeline(graph, values, take) if graph.loops else graph.build

    def decided(of_date: PipelineInputs, if_changed: Any) -> Any:
        return take(
            steps.decide,
            cached=False,
            data=of_date.data,
            experiment=values.experiment,
            if_changed=if_changed,
            run=values.run,
            job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            tracking_uri=values.tracking_uri,
            date=of_date.date or "",
        ).outputs["Output"]

    def dated(date: Any, timezone: Any) -> PipelineInputs:
        """Returns the values of a run's date, which its first task finds out."""
        scheduled = dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER
        found = take(
            steps.resolve_date, cached=False, data=values.data, date=date, scheduled=scheduled, timezone=timezone
        )
        return replace(values, data=found.outputs["data"], date=found.outputs["date"])

    def always() -> None:
        with dsl.ExitHandler(finished()):
            build(take, values)

    def always_dated(date: str = values.date or "", timezone: str = values.timezone) -> None:
        with dsl.ExitHandler(finished()):
            build(take, dated(date, timezone))

    def unless_unchanged(if_changed: bool = False) -> None:
        with dsl.ExitHandler(finished()), dsl.If(decided(values, if_changed) == "run"):
            build(take, values)

    def unless_unchanged_dated(
        if_changed: bool = False, date: str = values.date or "", timezone: str = values.timezone
    ) -> None:
        with dsl.ExitHandler(finished()):
            of_date = dated(date, timezone)
            with dsl.If(decided(of_date, if_changed) == "run"):
                build(take, of_date)

    decorate = dsl.pipeline(name=full_name(graph, values.name), description=graph.description, pipeline_root=root)
    if values.date is None:
        return decorate(unless_unchanged if graph.skips else always)
    return decorate(unless_unchanged_dated if graph.skips else always_dated)


def _in_a_pipeline(graph: Graph, values: PipelineInputs, take: Take) -> Callable[[Take, PipelineInputs], object]:
    """Returns what makes the tasks of a graph as a pipeline within the pipeline. It is compiled before the outer one.

    A loop that stands in an exit handler itself fails without an error, on Kubeflow and on Vertex AI
    (https://github.com/kubeflow/pipelines/issues/12390).
    """
    decorate = dsl.pipeline(name=graph.name or "work")
    if values.date is None:

        def work() -> None:
            graph.build(take, values)

        inner = decorate(work)
        return lambda take, values: inner().set_caching_options(False)

    def work_of_date(data: str, date: str) -> None:
        graph.build(take, replace(values, data=data, date=date))

    dated = decorate(work_of_date)
    return lambda take, values: dated(data=values.data, date=values.date).set_caching_options(False)


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
