"""Distributed training on PyTorch, one process per device: start, connection and loss of processes."""

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import IO

import numpy as np
import torch
import torch.distributed as distributed

from elboflow.artifacts import child
from elboflow.settings import WorkError
from elboflow.settings.variables import TORCH_LOCAL_RANK
from elboflow.vae.compute.cluster import SILENCE_SECONDS, START_SECONDS, Cluster, lost
from elboflow.vae.compute.contract import Job
from elboflow.vae.compute.torch.devices import placement

_START = timedelta(seconds=START_SECONDS)
# On CPUs, a broken connection is noticed at once. On GPUs, a collective operation waits in the device's queue, and only
# the heartbeat thread (`_exchange_heartbeats`) notices a lost process.
_HEARTBEAT_SECONDS = 5
_SECONDS_TO_END = 10


@contextmanager
def together(job: Job, cluster: Cluster | None, worker: str) -> Iterator[Cluster | None]:
    """Starts the worker processes of this machine, one for each further device, and connects to all processes.

    Args:
        job: The training, which the workers get, too.
        cluster: The machines of a distributed training, one process each; None for a single machine. In a worker, the
            cluster of all processes.
        worker: The module that a worker runs.

    Yields:
        The cluster of all processes of all machines, with the index of this process; None for a single process.

    Raises:
        WorkError: Another process did not connect, or is lost.
    """
    place = placement()
    if cluster is None and place.local_world_size == 1:
        yield cluster
        return
    if cluster is not None and place.local_rank:
        with joined(cluster):
            yield cluster
        return
    with ExitStack() as stack:
        store, whole = _rendezvous(cluster, place.local_world_size)
        workers = [
            stack.enter_context(_worker(worker, number, job, cluster, replace(whole, index=whole.index + number)))
            for number in range(1, place.local_world_size)
        ]
        stack.enter_context(joined(whole, store))
        try:
            yield whole
        except WorkError as error:
            said = next(filter(None, map(_last_output, workers)), None)
            if said is None:
                raise
            raise WorkError(f"{error}; that process said: {said}") from error


def _rendezvous(cluster: Cluster | None, local: int) -> tuple[distributed.TCPStore | None, Cluster]:
    """Returns the store to which all processes connect, if it is on this machine already, and the cluster of all."""
    if cluster is not None:
        return None, Cluster(cluster.coordinator, cluster.processes * local, cluster.index * local)
    store = distributed.TCPStore("127.0.0.1", 0, local, is_master=True, wait_for_workers=False, timeout=_START)
    return store, Cluster(f"127.0.0.1:{store.port}", local, 0)


@contextmanager
def joined(cluster: Cluster, store: distributed.TCPStore | None = None) -> Iterator[None]:
    """Joins this process to the process group of a cluster.

    Raises:
        WorkError: Another process did not connect, or is lost.
    """
    with connected(cluster):
        store = store or _store(cluster, is_master=cluster.index == 0)
        kinds = "cpu:gloo,cuda:nccl" if placement().device.type == "cuda" else "gloo"
        distributed.init_process_group(
            kinds, store=store, rank=cluster.index, world_size=cluster.processes, timeout=_START
        )
    is_over = threading.Event()
    watch = threading.Thread(target=_exchange_heartbeats, args=(cluster, is_over), name="elboflow-peers", daemon=True)
    watch.start()
    try:
        with connected(cluster):
            yield
            distributed.barrier()  # the coordinator owns the store, so it must end last
    finally:
        is_over.set()
        watch.join()
        distributed.destroy_process_group()


@contextmanager
def connected(cluster: Cluster | None = None) -> Iterator[None]:
    """Explains the failure of a collective operation.

    Raises:
        WorkError: Another process is lost.
    """
    try:
        yield
    except WorkError:
        raise
    except RuntimeError as error:
        said = str(error)
        if not isinstance(error, distributed.DistError) and not any(w in said for w in ("gloo", "NCCL", "Connection")):
            raise
        index = cluster.index if cluster else distributed.get_rank()
        count = cluster.processes if cluster else distributed.get_world_size()
        raise WorkError(f"{lost('process', index, count)} ({said.splitlines()[0].partition('. ')[0]})") from error


def processes() -> int:
    """Returns the number of processes in the group; 1 without a group."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def averaged(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Returns the mean of each tensor over all processes, with a single all-reduce."""
    joint = torch.cat([tensor.reshape(-1) for tensor in tensors])
    with connected():
        distributed.all_reduce(joint)
    joint /= distributed.get_world_size()
    parts = joint.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def all_reduce_max(numbers: np.ndarray) -> np.ndarray:
    """All-reduce (max) over all processes."""
    if processes() == 1:
        return numbers
    found = torch.from_numpy(np.array(numbers, np.float64))
    with connected():
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return found.numpy()


def _store(cluster: Cluster, is_master: bool = False) -> distributed.TCPStore:
    host, _, port = cluster.coordinator.rpartition(":")
    return distributed.TCPStore(
        host, int(port), cluster.processes, is_master=is_master, wait_for_workers=False, timeout=_START
    )


def _exchange_heartbeats(cluster: Cluster, is_over: threading.Event) -> None:
    """Exchanges heartbeats, and ends this process if another process is lost and the main thread does not notice."""
    others = [number for number in range(cluster.processes) if number != cluster.index]
    heard, silence = dict.fromkeys(others, -1), dict.fromkeys(others, 0)
    try:
        store = _store(cluster)  # a separate connection, because a waiting thread blocks its connection
        while not is_over.wait(_HEARTBEAT_SECONDS):
            store.add(f"elboflow/{cluster.index}", 1)
            for number in others:
                beats = store.add(f"elboflow/{number}", 0)
                silence[number] = 0 if beats != heard[number] else silence[number] + _HEARTBEAT_SECONDS
                heard[number] = beats
            if max(silence.values()) >= SILENCE_SECONDS:
                break
    except RuntimeError:  # the coordinator is gone
        pass
    if not is_over.wait(_SECONDS_TO_END):
        os.write(2, f"error: {lost('process', cluster.index, cluster.processes)}\n".encode())
        os._exit(1)


Worker = tuple[subprocess.Popen[bytes], IO[bytes]]


@contextmanager
def _worker(module: str, number: int, job: Job, machines: Cluster | None, whole: Cluster) -> Iterator[Worker]:
    """Starts a worker process on this machine, with its own device."""
    with tempfile.TemporaryFile() as said:
        path = os.pathsep.join(place or "." for place in sys.path)  # unpickling imports modules of the job
        environment = child.environment(**{TORCH_LOCAL_RANK: str(number), "PYTHONPATH": path})
        process = subprocess.Popen(
            child.command(module), stdin=subprocess.PIPE, stdout=said, stderr=said, env=environment
        )
        with child.ended(process, _SECONDS_TO_END):
            assert process.stdin
            try:
                with process.stdin:
                    pickle.dump((job.training, machines, whole), process.stdin)
                    pickle.dump(job, process.stdin)  # unpickled after the choice of devices, because it imports Keras
            except BrokenPipeError:
                raise WorkError(_last_output((process, said)) or "a worker process closed its input") from None
            yield process, said


def _last_output(worker: Worker) -> str | None:
    """Returns the last output line of a failed worker; None if the worker did not fail."""
    process, said = worker
    try:
        if process.wait(_SECONDS_TO_END) == 0:
            return None
    except subprocess.TimeoutExpired:
        return None
    said.seek(0)
    return child.reason(said.read().decode(errors="replace"), process.returncode)
