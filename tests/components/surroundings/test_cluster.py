"""Which of several machines this is, by what platforms say in the environment."""

import json
from typing import Any

import pytest

from components.surroundings.cluster import MACHINES, from_environment
from elboflow.settings import RequestError
from elboflow.vae.compute import parallelism
from elboflow.vae.compute.cluster import Cluster
from elboflow.vae.config import TrainingConfig


def described(variable: str, task: Any, **roles: int) -> dict[str, str]:
    cluster = {role: [f"{role}-{n}:2222" for n in range(count)] for role, count in roles.items()}
    return {variable: json.dumps({"cluster": cluster, "task": task})}


def task(role: str, index: Any) -> dict[str, Any]:
    return {"type": role, "index": index, "trial": ""}


VERTEX = ("workerpool0-0:2222", "workerpool1-0:2222", "workerpool1-1:2222")
JAX = {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1", "JAX_COORDINATOR_ADDRESS": "job-node-0-0.job:29500"}
TORCH = {"WORLD_SIZE": "4", "RANK": "3", "MASTER_ADDR": "job-master-0", "MASTER_PORT": "23456"}
TRAINER = {"PET_NNODES": "2", "PET_NODE_RANK": "0", "PET_MASTER_ADDR": "job-node-0-0.job", "PET_MASTER_PORT": "29500"}
SLICE = {"TPU_WORKER_HOSTNAMES": "t-0.svc,t-1.svc", "TPU_WORKER_ID": "1"}
SLICES = {**SLICE, "MEGASCALE_NUM_SLICES": "2", "MEGASCALE_SLICE_ID": "1", "MEGASCALE_COORDINATOR_ADDRESS": "first.svc"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param(
            described("CLUSTER_SPEC", task("workerpool1", 1), workerpool0=1, workerpool1=2, workerpool2=4),
            Cluster("workerpool0-0:2222", 3, 2, VERTEX),
            id="Vertex AI, with a reduction server",
        ),
        pytest.param(
            described("TF_CONFIG", task("worker", "0"), chief=1, worker=2, ps=3),
            Cluster("chief-0:2222", 3, 1, ("chief-0:2222", "worker-0:2222", "worker-1:2222")),
            id="TFJob, with parameter servers",
        ),
        pytest.param(
            described("TF_CONFIG", task("worker", 0), worker=2),
            Cluster("worker-0:2222", 2, 0, ("worker-0:2222", "worker-1:2222")),
            id="TFJob without a chief: worker 0 is it",
        ),
        pytest.param(JAX, Cluster("job-node-0-0.job:29500", 2, 1), id="Kubeflow Trainer, JAX"),
        pytest.param(
            {**JAX, "JAX_COORDINATOR_ADDRESS": "10.0.0.1"}, Cluster("10.0.0.1:29500", 2, 1), id="JAX, without a port"
        ),
        pytest.param(TORCH, Cluster("job-master-0:23456", 4, 3), id="PyTorchJob"),
        pytest.param(TRAINER, Cluster("job-node-0-0.job:29500", 2, 0), id="Kubeflow Trainer, PyTorch"),
        pytest.param(SLICE, Cluster("t-0.svc:8482", 2, 1), id="a slice of TPUs"),
        pytest.param(
            {"TPU_PROCESS_ADDRESSES": "10.0.0.1:8476,10.0.0.2:8476", "TPU_WORKER_ID": "0"},
            Cluster("10.0.0.1:8482", 2, 0),
            id="a slice of TPUs, by addresses",
        ),
        pytest.param(SLICES, Cluster("first.svc:8482", 4, 3), id="two slices of TPUs"),
        pytest.param(
            {**described("CLUSTER_SPEC", task("workerpool0", 0), workerpool0=1, workerpool1=1), **TORCH},
            Cluster("workerpool0-0:2222", 2, 0, ("workerpool0-0:2222", "workerpool1-0:2222")),
            id="Vertex AI's own word counts, not what it says to PyTorch",
        ),
        pytest.param(
            {**JAX, **described("TF_CONFIG", task("worker", 1), worker=2)},
            Cluster("job-node-0-0.job:29500", 2, 1, ("worker-0:2222", "worker-1:2222")),
            id="what one variable lacks, another says",
        ),
    ],
)
def test_each_machine_finds_out_which_of_them_it_is(environment: dict[str, str], expected: Cluster):
    assert from_environment(environment) == expected
    assert from_environment({**environment, MACHINES: str(expected.processes)}) == expected


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TF_CONFIG": "", "WORLD_SIZE": "", "TPU_WORKER_HOSTNAMES": "", "JAX_NUM_PROCESSES": "", "CLUSTER_SPEC": ""},
        described("TF_CONFIG", task("chief", 0), chief=1),
        described("CLUSTER_SPEC", task("workerpool0", 0), workerpool0=1, workerpool2=8),
        {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0", "MEGASCALE_NUM_SLICES": "1"},
        {"JAX_NUM_PROCESSES": "1", "JAX_COORDINATOR_ADDRESS": "10.0.0.1:1234"},
        {"WORLD_SIZE": "1", "RANK": "0", "PET_NNODES": "1", MACHINES: "1"},
    ],
)
def test_one_machine_trains_alone(environment: dict[str, str]):
    assert from_environment(environment) is None


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"CLUSTER_SPEC": "{"}, "CLUSTER_SPEC does not describe a cluster in JSON"),
        ({"TF_CONFIG": '{"cluster": {"worker": 2}}'}, "TF_CONFIG does not describe a cluster in JSON"),
        (described("TF_CONFIG", None, worker=2), "TF_CONFIG says that this is the machine of type None; .*: worker"),
        (described("TF_CONFIG", task("ps", 0), worker=2, ps=1), "of type 'ps'; those that train are of: worker"),
        (described("TF_CONFIG", task("worker", 2), worker=2), "says that this is worker 2 of 2; they count from 0"),
        (described("TF_CONFIG", task("worker", -1), worker=2), "says that this is worker -1 of 2"),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1"},
            "JAX_COORDINATOR_ADDRESS names a coordinator, and JAX_NUM_PROCESSES is mi",
        ),
        ({"JAX_NUM_PROCESSES": "many"}, "JAX_NUM_PROCESSES is 'many'; allowed: a number of at least 1"),
        ({"JAX_NUM_PROCESSES": "2"}, "that 2 machines are to train together, and JAX_PROCESS_ID is missing"),
        ({**JAX, "JAX_PROCESS_ID": "2"}, "JAX_PROCESS_ID is '2'; allowed: 0 to 1"),
        ({**TORCH, "MASTER_PORT": ""}, "4 machines are to train together, and MASTER_PORT is missing"),
        ({**TORCH, "LOCAL_WORLD_SIZE": "2"}, "LOCAL_WORLD_SIZE is 2; start one process on each machine"),
        ({**TRAINER, "PET_NNODES": "1:4"}, "PET_NNODES is '1:4'; allowed: a number"),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, "TPU_WORKER_HOSTNAMES says that 2 machines .* TPU_WORKER_ID is missing"),
        ({"MEGASCALE_NUM_SLICES": "2"}, "MEGASCALE_NUM_SLICES says .* 2 machines .* MEGASCALE_SLICE_ID is missing"),
        ({**JAX, **TORCH}, "WORLD_SIZE says that this is machine 3 of 4; JAX_NUM_PROCESSES, that it is machine 1 of 2"),
        ({**JAX, MACHINES: "4"}, f"JAX_NUM_PROCESSES names 2 machines that are to train together; {MACHINES}, 4"),
        ({MACHINES: "2"}, f"{MACHINES} says that 2 machines are to train together, and no variable names them"),
    ],
)
def test_what_is_missing_wrong_or_contradictory_is_refused_by_name(environment: dict[str, str], told: str):
    with pytest.raises(RequestError, match=f"the environment variable .*{told}"):
        from_environment(environment)


def test_a_backend_with_a_process_for_each_device_has_fewer_ways_to_divide_a_batch():
    shared, separate = training(batch_size=96), training(backend="torch", batch_size=96)
    assert parallelism.indivisible(shared, 2, 3) is None
    assert parallelism.indivisible(separate, 2, 2) is None
    told = parallelism.indivisible(separate, 2, 3)
    assert told is not None
    assert "96 cannot be divided among 6 devices; such a batch can be divided among 2, 4, 8, 16, 32 devices" in told


TWO = Cluster("a:1", 2, 0, ("a:1", "b:1"))
UNADDRESSED = Cluster("a:1", 2, 0)


def training(**settings: Any) -> TrainingConfig:
    return TrainingConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "cluster"),
    [
        ({"backend": backend, "parallel": kind}, cluster)
        for backend, kinds in parallelism.PARALLEL.items()
        for kind in kinds
        for cluster in (None, TWO if kind == "data" else None)
    ]
    + [
        ({"backend": "jax", "parallel": "data"}, UNADDRESSED),
        ({"backend": "torch", "parallel": "data"}, UNADDRESSED),
        ({"backend": "jax", "parallel": {"kind": "model", "data": 2, "model": 2}}, TWO),
        ({}, None),
    ],
)
def test_what_a_backend_can_do_is_let_through(settings: dict[str, Any], cluster: Cluster | None):
    parallelism.check(training(**settings), cluster)


@pytest.mark.parametrize(
    ("settings", "cluster", "told"),
    [
        ({"parallel": "model"}, None, r"training\.parallel: 'model' .* tensorflow, which can: data; .* with: jax$"),
        ({"backend": "torch", "parallel": "model"}, TWO, r"training\.parallel: 'model' .* torch, .* with: jax$"),
        ({"backend": "jax"}, TWO, r"training\.parallel: missing, and 2 machines .*: data, model with .* jax"),
        ({"parallel": "data"}, UNADDRESSED, r"training\.backend is tensorflow, which needs .* enough for: jax, torch$"),
        (
            {"parallel": "data", "batch_size": 9},
            TWO,
            r"batch_size: 9 cannot be divided among 2 machines; .* one machine",
        ),
        (
            {"parallel": "data", "batch_size": 48},
            Cluster("a:1", 3, 0, ("a:1", "b:1", "c:1")),
            r"training\.batch_size: 48 cannot be divided among 3 machines; .* among 2, 4, 8, 16 machines",
        ),
        ({"backend": "jax", "parallel": "model"}, TWO, r"training\.parallel\.data: 1 is no multiple of the 2 machines"),
    ],
)
def test_what_a_backend_cannot_do_is_refused_and_says_which_can(
    settings: dict[str, Any], cluster: Cluster | None, told: str
):
    with pytest.raises(RequestError, match=told):
        parallelism.check(training(**settings), cluster)
