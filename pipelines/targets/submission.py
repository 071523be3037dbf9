"""What is submitted for an experiment: the job, and its graph compiled for the platform."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.config import OF_SCHEDULES, Event, events
from elboflow.settings import RequestError
from pipelines.experiment import Experiment
from pipelines.experiment.machines import Retry
from pipelines.experiment.steps import image_for
from pipelines.experiment.vertex import VertexTarget
from pipelines.graphs import Graph
from pipelines.graphs.training import TRAINING
from pipelines.targets import Job

if TYPE_CHECKING:
    from pipelines.sweeps.candidates import Plan

ALGORITHMS = {"tpe": "ALGORITHM_UNSPECIFIED", "random": "RANDOM_SEARCH"}
"""Vertex AI's names. Unspecified is its own Bayesian optimisation."""


def job(experiment: Experiment, target: str, if_changed: bool = False, release: str | None = None) -> Job:
    """Returns the job of an experiment on a target, or of its published version `release`.

    A local run starts from the experiment itself; elsewhere the experiment is in the compiled pipeline's defaults.

    Raises:
        RequestError: The experiment does not say how to run on the target, or asks for what is impossible there.
    """
    arguments: dict[str, Any] = {"if_changed": True} if if_changed else {}
    if target == "local":
        return Job(experiment.name, arguments={"experiment": experiment.model_dump(mode="json"), **arguments})
    compiled = specification(experiment, target) if release is None else None
    return Job(experiment.name, compiled, release, arguments | _date(experiment), is_dated=_is_dated(experiment))


def _date(experiment: Experiment) -> dict[str, Any]:
    return {"date": experiment.date} if _is_dated(experiment) and experiment.date is not None else {}


def _is_dated(experiment: Experiment) -> bool:
    return experiment.data.source.is_dated


def specification(experiment: Experiment, target: str, graph: Graph = TRAINING) -> str:
    """Returns the IR YAML of a pipeline for `kubeflow` or `vertex`.

    Raises:
        RequestError: The experiment does not say how to run on the target, or asks for what is impossible there.
    """
    asked = frozenset[Event]() if experiment.notify is None else events(experiment.notify)
    if unseen := [event for event in OF_SCHEDULES if event in asked]:
        raise RequestError(
            f"notify.when: {', '.join(unseen)}: {target} does not tell it, as this machine's scheduler does; leave it "
            f"out for {target}, such as in an environment's file"
        )
    if target == "kubeflow":
        from pipelines.targets.kubeflow.specification import specification as compiled
    else:
        from pipelines.targets.vertex.specification import specification as compiled
    return compiled(experiment, graph)


def sweep_job(plan: "Plan", target: str) -> Job:
    """Returns what is submitted for a sweep, or raises RequestError where the target cannot run it."""
    graph = _on_kubeflow(plan) if target == "kubeflow" else _on_vertex(plan)
    compiled = specification(plan.experiment, target, graph)
    return Job(plan.experiment.name, compiled, arguments=_date(plan.experiment), is_dated=_is_dated(plan.experiment))


def _on_kubeflow(plan: "Plan") -> Graph:
    if not plan.is_grid:
        raise RequestError(
            "--search: Kubeflow has no search of its own; targets that search: local (Optuna), vertex (Vertex AI's "
            "hyperparameter tuning). A grid runs on all: --over KEY=A,B,C"
        )
    from pipelines.targets.kubeflow.specification import given

    train = given(plan.experiment).step("train")
    _refuse_several_machines("kubeflow", train.machines)
    return _grid(plan, "", train.retry)


def _on_vertex(plan: "Plan") -> Graph:
    from pipelines.graphs.sweep import Tuned
    from pipelines.sweeps.tuning import metrics, parameters
    from pipelines.targets.vertex.specification import Machines, given

    target = given(plan.experiment)
    train = target.step("train")
    _refuse_several_machines("vertex", train.machines)
    root = f"{target.root}/sweeps/{plan.name}"
    if plan.is_grid:
        return _grid(plan, f"{root}/trials", train.retry)
    pool = _pool(target, Machines(target, plan.experiment.name).environment("train"))
    job = {
        "display_name": f"{plan.experiment.name}-sweep",
        "location": target.location,
        "base_output_directory": f"{root}/job",
        "study_spec_metrics": metrics(),
        "study_spec_parameters": parameters(plan.axes),
        "study_spec_algorithm": ALGORITHMS[plan.search.sampler],
        "max_trial_count": plan.search.trials,
        "max_failed_trial_count": plan.search.trials,  # a failed trial is an outcome, and no failure of the sweep
        "encryption_spec_key_name": target.encryption_key or "",
        "service_account": target.service_account or "",
        "network": target.network or "",
    }
    return Tuned(_over(plan), plan.parallel, f"{root}/trials", pool=json.dumps(pool), job=job)


def _refuse_several_machines(target: str, machines: int) -> None:
    if machines > 1:
        raise RequestError(
            f"targets.{target}.steps.train: {machines} machines; each trial of a sweep trains on one, and "
            "--parallel says how many do so at a time"
        )


def _grid(plan: "Plan", trials_root: str, retry: Retry) -> Graph:
    from pipelines.graphs.sweep import Grid
    from pipelines.sweeps.axes import grid

    combinations = tuple(json.dumps(values) for values in grid(plan.axes))
    return Grid(_over(plan), plan.parallel, trials_root, combinations=combinations, waits=retry.waits)


def _over(plan: "Plan") -> str:
    return json.dumps(plan.over)


def _pool(target: VertexTarget, environment: Mapping[str, str]) -> dict[str, Any]:
    """Returns the machine of a trial as a `WorkerPoolSpec`; a tuning job, like any custom job, needs a machine type."""
    from pipelines.targets.vertex.specification import machine

    step = target.step("train")
    if not step.is_custom_job:
        raise RequestError(
            "targets.vertex.steps.train.machine: missing; the trials of Vertex AI's hyperparameter tuning are custom "
            "jobs, which need a machine type (such as n2-standard-8) or an accelerator"
        )
    if step.provisioning != "standard":
        raise RequestError(
            f"targets.vertex.steps.train.provisioning: {step.provisioning}; the component for hyperparameter tuning "
            "has standard machines only; a grid has all: --over KEY=A,B,C"
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
