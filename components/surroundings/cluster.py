"""The cluster of hosts that this process trains in, read from the environment variables of its platform.

| variables | set by |
| --- | --- |
| `CLUSTER_SPEC` | Vertex AI's custom jobs |
| `TF_CONFIG` | Kubeflow's TFJob; Vertex AI, too |
| `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES`, `JAX_PROCESS_ID` | the JAX runtime of Kubeflow Trainer |
| `TPU_WORKER_HOSTNAMES` (or `TPU_PROCESS_ADDRESSES`), `TPU_WORKER_ID`, `MEGASCALE_…` | GKE, for slices of TPUs |
| `MASTER_ADDR`, `MASTER_PORT`, `WORLD_SIZE`, `RANK` | torchrun; Kubeflow's PyTorchJob; Vertex AI, too |
| `PET_MASTER_ADDR`, `PET_MASTER_PORT`, `PET_NNODES`, `PET_NODE_RANK` | the PyTorch runtime of Kubeflow Trainer |

A backend takes any of them that names what it needs (`elboflow/vae/parallelism.py`): TensorFlow needs the addresses of
all hosts, which only `CLUSTER_SPEC` and `TF_CONFIG` name.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from elboflow.settings import RequestError
from elboflow.settings.variables import MACHINES
from elboflow.vae.compute.cluster import Cluster

Environment = Mapping[str, str]

_TRAINER_PORT = 29500  # Kubeflow Trainer's and torchrun's, where an address has none
_TPU_PORT = 8482  # where JAX itself has the coordinator of a slice of TPUs
_TENSORFLOW_PORT = 2222  # Vertex AI's and Kubeflow's


def from_environment(environment: Environment) -> Cluster | None:
    """Returns the cluster of this host, or None where it trains alone.

    Raises:
        RequestError: The variables are incomplete or wrong, or contradict each other.
    """
    found = {name: cluster for name, read in _READERS.items() if (cluster := read(environment)) is not None}
    if "CLUSTER_SPEC" in found:  # Vertex AI derives PyTorch's from it, and may count a reduction server's machines
        found.pop("WORLD_SIZE", None)
    expected = _number(environment, MACHINES, at_least=1) if environment.get(MACHINES) else None
    if not found:
        if expected is not None and expected > 1:
            raise _wrong(MACHINES, f"says that {expected} machines are to train together, and no variable names them")
        return None
    (first, cluster), *others = found.items()
    for name, other in others:
        if (other.index, other.processes) != (cluster.index, cluster.processes):
            raise _wrong(
                name,
                f"says that this is machine {other.index} of {other.processes}; {first}, that it is machine "
                f"{cluster.index} of {cluster.processes}",
            )
    if expected is not None and expected != cluster.processes:
        raise _wrong(first, f"names {cluster.processes} machines that are to train together; {MACHINES}, {expected}")
    return replace(cluster, workers=next((each.workers for each in found.values() if each.workers), ()))


def _vertex(environment: Environment) -> Cluster | None:
    # Pool 2 is a reduction server, which adds up gradients and trains nothing; pool 3 evaluates.
    return _described(environment, "CLUSTER_SPEC", ("workerpool0", "workerpool1"))


def _tensorflow(environment: Environment) -> Cluster | None:
    return _described(environment, "TF_CONFIG", ("chief", "master", "worker"))


def _described(environment: Environment, variable: str, roles: tuple[str, ...]) -> Cluster | None:
    """Reads JSON with the addresses of each role, and the role and index of this host."""
    text = environment.get(variable, "")
    if not text:
        return None
    try:
        spec = json.loads(text)
        addresses = {role: tuple(map(str, spec.get("cluster", {}).get(role) or ())) for role in roles}
        task = spec.get("task") or {}
        role, number = task.get("type"), task.get("index")
    except (ValueError, AttributeError, TypeError):
        raise _wrong(variable, "does not describe a cluster in JSON") from None
    workers = tuple(_with_port(address, _TENSORFLOW_PORT) for role in roles for address in addresses[role])
    if len(workers) <= 1:
        return None
    if role not in addresses:
        trains = ", ".join(each for each in roles if addresses[each])
        raise _wrong(variable, f"says that this is the machine of type {role!r}; those that train are of: {trains}")
    index = _index_of(number)
    if index is None or index >= len(addresses[role]):
        raise _wrong(variable, f"says that this is {role} {number!r} of {len(addresses[role])}; they count from 0")
    before = roles[: roles.index(role)]
    return Cluster(workers[0], len(workers), sum(len(addresses[each]) for each in before) + index, workers)


def _index_of(number: Any) -> int | None:
    """Returns an index from JSON; platforms write it as a number or as a string."""
    return int(number) if str(number).isdecimal() else None


def _jax(environment: Environment) -> Cluster | None:
    if not environment.get("JAX_NUM_PROCESSES"):
        if environment.get("JAX_COORDINATOR_ADDRESS"):
            raise _wrong("JAX_COORDINATOR_ADDRESS", "names a coordinator, and JAX_NUM_PROCESSES is missing")
        return None
    return _numbered(environment, "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_COORDINATOR_ADDRESS")


def _torch(environment: Environment) -> Cluster | None:
    local = environment.get("LOCAL_WORLD_SIZE") or "1"
    if local != "1":
        raise _wrong("LOCAL_WORLD_SIZE", f"is {local}; start one process on each machine: it uses all its devices")
    if not environment.get("WORLD_SIZE"):
        return None
    return _numbered(environment, "WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")


def _trainer(environment: Environment) -> Cluster | None:
    if not environment.get("PET_NNODES"):
        return None
    return _numbered(environment, "PET_NNODES", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT")


def _numbered(environment: Environment, size: str, rank: str, address: str, port: str = "") -> Cluster | None:
    """Reads the number of processes, the rank of this one, and the address of the coordinator."""
    processes = _number(environment, size, at_least=1)
    if processes == 1:
        return None
    for variable in filter(None, (rank, address, port)):
        if not environment.get(variable):
            raise _wrong(size, f"says that {processes} machines are to train together, and {variable} is missing")
    index = _number(environment, rank, below=processes)
    coordinator = environment[address]
    if port:
        return Cluster(f"{coordinator}:{_number(environment, port, at_least=1)}", processes, index)
    return Cluster(_with_port(coordinator, _TRAINER_PORT), processes, index)


def _tpu(environment: Environment) -> Cluster | None:
    """Reads the hosts of a TPU slice, and its index among several slices; a single slice has none."""
    variable = "TPU_PROCESS_ADDRESSES" if environment.get("TPU_PROCESS_ADDRESSES") else "TPU_WORKER_HOSTNAMES"
    hosts = [host.strip().partition(":")[0] for host in environment.get(variable, "").split(",") if host.strip()]
    slices = _number(environment, "MEGASCALE_NUM_SLICES", at_least=1) if environment.get("MEGASCALE_NUM_SLICES") else 1
    of_slice = max(1, len(hosts))
    if slices * of_slice == 1:
        return None
    names = variable if slices == 1 else "MEGASCALE_NUM_SLICES"
    needed = {
        "TPU_WORKER_ID": of_slice > 1,
        "MEGASCALE_SLICE_ID": slices > 1,
        "MEGASCALE_COORDINATOR_ADDRESS": slices > 1,
    }
    for name in (name for name, is_needed in needed.items() if is_needed and not environment.get(name)):
        raise _wrong(names, f"says that {slices * of_slice} machines are to train together, and {name} is missing")
    index = _number(environment, "TPU_WORKER_ID", below=of_slice) if of_slice > 1 else 0
    if slices > 1:
        index += of_slice * _number(environment, "MEGASCALE_SLICE_ID", below=slices)
        leader = environment["MEGASCALE_COORDINATOR_ADDRESS"].partition(":")[0]
    else:
        leader = hosts[0]
    return Cluster(f"{leader}:{_TPU_PORT}", slices * of_slice, index)


_READERS: dict[str, Callable[[Environment], Cluster | None]] = {
    "JAX_NUM_PROCESSES": _jax,
    "CLUSTER_SPEC": _vertex,
    "TF_CONFIG": _tensorflow,
    "TPU_WORKER_HOSTNAMES": _tpu,
    "PET_NNODES": _trainer,
    "WORLD_SIZE": _torch,
}
"""By precedence: the first that is set names the coordinator. All must agree on the number of hosts and the rank."""


def _number(environment: Environment, variable: str, *, at_least: int = 0, below: int | float = math.inf) -> int:
    text = environment.get(variable, "")
    if text.isdecimal() and at_least <= int(text) < below:
        return int(text)
    allowed = f"a number of at least {at_least}" if below == math.inf else f"0 to {below - 1}"
    raise _wrong(variable, f"is {text!r}; allowed: {allowed}")


def _with_port(address: str, port: int) -> str:
    host, _, given = address.rpartition(":")
    return address if host and given.isdecimal() else f"{address}:{port}"


def _wrong(variable: str, what: str) -> RequestError:
    return RequestError(f"the environment variable {variable} {what}")
