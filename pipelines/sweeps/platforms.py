"""A sweep as a platform takes it: the same steps as here, compiled, with what the platform gives to each."""

import json
from collections.abc import Callable
from typing import Any

from kfp import compiler, dsl
from kfp.dsl import PipelineTask
from kfp.dsl.base_component import BaseComponent
from kfp.dsl.graph_component import GraphComponent

from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import RequestError
from pipelines import ending
from pipelines.sweeps import steps
from pipelines.sweeps.graph import COMMON, DESCRIPTION, Attempts, arguments, looped, some, sweep_steps, values
from pipelines.sweeps.plan import Plan
from pipelines.sweeps.tuning import metrics, parameters
from pipelines.targets import Job
from pipelines.targets.config import VertexTarget
from pipelines.targets.images import image_for
from pipelines.targets.placement import machines, placed
from pipelines.training import Platform, Take

ALGORITHMS = {"tpe": "ALGORITHM_UNSPECIFIED", "random": "RANDOM_SEARCH"}
"""Vertex AI's names. Unspecified is its own Bayesian optimisation."""


def job(plan: Plan, target: str) -> Job:
    """Returns what is submitted to Kubeflow or Vertex AI for a sweep.

    Raises:
        RequestError: The experiment does not say how to run on the target, or the target cannot run such a sweep.
    """
    text = _kubeflow(plan) if target == "kubeflow" else _vertex(plan)
    return Job(plan.experiment.name, text)


def _kubeflow(plan: Plan) -> str:
    from pipelines.targets.kubeflow.specification import Pods, console, runner

    if plan.search is not None:
        raise RequestError(
            "--search: Kubeflow has no search of its own; targets that search: local (Optuna), vertex (Vertex AI's "
            "hyperparameter tuning). A grid runs on all: --over KEY=A,B,C"
        )
    target = plan.experiment.targets.kubeflow
    if target is None:
        raise RequestError("targets.kubeflow: missing; a sweep on kubeflow needs its `image` and `tracking_uri`")
    given = arguments(
        placed(plan.experiment, "kubeflow"),
        plan.over,
        dataset_root="",
        trials_root="",
        tracking_uri=target.tracking_uri,
        runner=runner(target),
    )
    return _compiled(plan, _grid(plan, Pods(target), None, console(target)), given)


def _vertex(plan: Plan) -> str:
    from pipelines.targets.vertex.specification import Machines, runner

    target = plan.experiment.targets.vertex
    if target is None:
        needed = "`project`, `location`, `root`, `image` and `tracking_uri`"
        raise RequestError(f"targets.vertex: missing; a sweep on vertex needs its {needed}")
    if machines(target.train) > 1:
        raise RequestError(
            f"targets.vertex.train: {machines(target.train)} machines; each trial of a sweep trains on one, and "
            "--parallel says how many do so at a time"
        )
    root = f"{target.root}/sweeps/{plan.name}"
    platform = Machines(target, plan.experiment.name)
    given = arguments(
        placed(plan.experiment, "vertex"),
        plan.over,
        dataset_root=f"{target.root}/datasets",
        trials_root=f"{root}/trials",
        tracking_uri=target.tracking_uri,
        runner=runner(target),
    )
    if plan.search is None:
        return _compiled(plan, _grid(plan, platform, target.root, ""), given)
    pool = _pool(target, platform.environment("train"))
    return _compiled(plan, _search(plan, target, platform, f"{root}/job"), {**given, "pool": json.dumps(pool)})


def _grid(plan: Plan, platform: Platform, root: str | None, console: str) -> GraphComponent:
    take = _taking(platform)

    @dsl.pipeline(name=f"{plan.experiment.name}-sweep", description=DESCRIPTION, pipeline_root=root)
    def sweep(
        data: str,
        evaluation: str,
        registry: str,
        experiment: str,
        over: str,
        trials: list,
        dataset_root: str,
        trials_root: str,
        tracking_uri: str,
        runner: str,
        notify: str,
    ) -> None:
        given = {**locals(), "run": dsl.PIPELINE_JOB_NAME_PLACEHOLDER}
        with dsl.ExitHandler(_finished(take, given, console)):
            inputs = some(given, "trials", "experiment", "over", "run", "trials_root", "tracking_uri")
            sweep_steps(take, looped(take, plan.parallel, **inputs), **some(given, *COMMON))

    return sweep


def _search(plan: Plan, target: VertexTarget, platform: Platform, output: str) -> GraphComponent:
    take = _taking(platform)

    @dsl.pipeline(name=f"{plan.experiment.name}-sweep", description=DESCRIPTION, pipeline_root=target.root)
    def sweep(
        data: str,
        evaluation: str,
        registry: str,
        experiment: str,
        over: str,
        pool: str,
        dataset_root: str,
        trials_root: str,
        tracking_uri: str,
        runner: str,
        notify: str,
    ) -> None:
        given = {**locals(), "run": dsl.PIPELINE_JOB_NAME_PLACEHOLDER}
        with dsl.ExitHandler(_finished(take, given, "")):
            sweep_steps(take, _tuned(take, plan, target, output, given), **some(given, *COMMON))

    return sweep


def _tuned(take: Take, plan: Plan, target: VertexTarget, output: str, given: dict[str, Any]) -> Attempts:
    """Returns the trials as those of a tuning job."""
    from google_cloud_pipeline_components.v1.hyperparameter_tuning_job import HyperparameterTuningJobRunOp

    settings = plan.search
    assert settings is not None, "only a search is tuned"

    def attempts(dataset: Any, begun: PipelineTask) -> PipelineTask:
        inputs = some(given, "experiment", "over", "run", "trials_root", "tracking_uri")
        pools = take(steps.worker_pools, dataset=dataset, pool=given["pool"], **inputs).after(begun)
        tuned = HyperparameterTuningJobRunOp(
            display_name=f"{plan.experiment.name}-sweep",
            location=target.location,
            base_output_directory=output,
            worker_pool_specs=pools.set_caching_options(False).outputs["Output"],
            study_spec_metrics=metrics(),
            study_spec_parameters=parameters(plan.axes),
            study_spec_algorithm=ALGORITHMS[settings.sampler],
            max_trial_count=settings.trials,
            parallel_trial_count=plan.parallel,
            max_failed_trial_count=settings.trials,  # a failed trial is an outcome, and no failure of the sweep
            encryption_spec_key_name=target.encryption_key or "",
            service_account=target.service_account or "",
            network=target.network or "",
        ).set_caching_options(False)
        return take(steps.choose_found, **inputs).after(tuned)

    return attempts


def _pool(target: VertexTarget, environment: dict[str, str]) -> dict[str, Any]:
    """Returns the machine of a trial as a `WorkerPoolSpec`; a tuning job, like any custom job, needs a machine type."""
    from pipelines.targets.vertex.custom_job import machine

    step = target.train
    if not step.is_custom_job:
        raise RequestError(
            "targets.vertex.train.machine: missing; the trials of Vertex AI's hyperparameter tuning are custom jobs, "
            "which need a machine type (such as n2-standard-8) or an accelerator"
        )
    if step.provisioning != "standard":
        raise RequestError(
            f"targets.vertex.train.provisioning: {step.provisioning}; the component for hyperparameter tuning has "
            "standard machines only; a grid has all: --over KEY=A,B,C"
        )
    disk = "pd-ssd" if step.accelerator is None else step.accelerator.of_kind.disk
    disk_spec = {"boot_disk_type": disk, "boot_disk_size_gb": step.disk_gigabytes} if step.disk_gigabytes else None
    return {
        "machine_spec": machine(step),
        "replica_count": 1,
        **({"disk_spec": disk_spec} if disk_spec else {}),
        "container_spec": {
            "image_uri": image_for(target.image, step.accelerator),
            "env": [{"name": name, "value": value} for name, value in environment.items()],
        },
    }


def _taking(platform: Platform) -> Take:
    def take(step: BaseComponent, **inputs: Any) -> PipelineTask:
        task = platform.component(step)(**inputs)
        platform.place(task, step.name)
        return task

    return take


def _finished(take: Callable[..., PipelineTask], given: dict[str, Any], console: str) -> PipelineTask:
    return take(
        ending.finish,
        job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        console=console,
        **some(given, "experiment", "run", "notify", "tracking_uri"),
    ).set_caching_options(False)


def _compiled(plan: Plan, graph: GraphComponent, given: dict[str, Any]) -> str:
    notify = plan.experiment.notify
    given = {**given, "notify": "" if notify is None else notify.model_dump_json()}
    if plan.search is None:
        given["trials"] = values(plan.trials)
    with temporary_folder() as folder:
        path = folder / "pipeline.yaml"
        compiler.Compiler().compile(graph, str(path), pipeline_parameters=given)
        return path.read_text(encoding="utf-8")
