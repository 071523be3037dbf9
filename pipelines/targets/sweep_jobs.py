"""A sweep as a platform takes it: compiled, with what the platform gives to each step."""

import json
from collections.abc import Mapping
from typing import Any

from elboflow.settings import RequestError
from pipelines.experiment.steps import image_for
from pipelines.experiment.vertex import VertexTarget
from pipelines.graphs import Graph
from pipelines.graphs.sweep import Grid, Tuned
from pipelines.sweeps.axes import grid
from pipelines.sweeps.plan import Plan
from pipelines.sweeps.tuning import metrics, parameters
from pipelines.targets import Job

ALGORITHMS = {"tpe": "ALGORITHM_UNSPECIFIED", "random": "RANDOM_SEARCH"}
"""Vertex AI's names. Unspecified is its own Bayesian optimisation."""


def job(plan: Plan, target: str) -> Job:
    """Returns what is submitted to Kubeflow or Vertex AI for a sweep.

    Raises:
        RequestError: The experiment does not say how to run on the target, or the target cannot run such a sweep.
    """
    from pipelines.targets.submission import specification

    graph = _on_kubeflow(plan) if target == "kubeflow" else _on_vertex(plan)
    return Job(plan.experiment.name, specification(plan.experiment, target, graph))


def _on_kubeflow(plan: Plan) -> Graph:
    if not plan.is_grid:
        raise RequestError(
            "--search: Kubeflow has no search of its own; targets that search: local (Optuna), vertex (Vertex AI's "
            "hyperparameter tuning). A grid runs on all: --over KEY=A,B,C"
        )
    return _grid(plan, trials_root="")


def _on_vertex(plan: Plan) -> Graph:
    from pipelines.targets.vertex.specification import Machines, given

    target = given(plan.experiment)
    train = target.step("train")
    if train.machines > 1:
        raise RequestError(
            f"targets.vertex.steps.train: {train.machines} machines; each trial of a sweep trains on one, and "
            "--parallel says how many do so at a time"
        )
    root = f"{target.root}/sweeps/{plan.name}"
    if plan.is_grid:
        return _grid(plan, f"{root}/trials")
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


def _grid(plan: Plan, trials_root: str) -> Graph:
    combinations = tuple(json.dumps(values) for values in grid(plan.axes))
    return Grid(_over(plan), plan.parallel, trials_root, combinations=combinations)


def _over(plan: Plan) -> str:
    return json.dumps(plan.over)


def _pool(target: VertexTarget, environment: Mapping[str, str]) -> dict[str, Any]:
    """Returns the machine of a trial as a `WorkerPoolSpec`; a tuning job, like any custom job, needs a machine type."""
    from pipelines.targets.vertex.custom_job import machine

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
