"""The processes that compute together on PyTorch, one for each device: how they start, meet, and lose each other."""

import logging
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import IO

import numpy as np
import torch
import torch.distributed as distributed

from elboflow.settings import WorkError
from elboflow.vae.compute.cluster import SILENCE_SECONDS, START_SECONDS, Cluster, lost
from elboflow.vae.compute.contract import Job
from elboflow.vae.compute.torch.devices import LOCAL_RANK, placement

logger = logging.getLogger("elboflow.training")

_START = timedelta(seconds=START_SECONDS)
# On processors a broken connection is noticed at once; on GPUs the wait is in the device's own queue, and the thread of
# `_watch` alone notices.
_SECONDS_BETWEEN_BEATS = 5
_SECONDS_TO_END = 10


@contextmanager
def together(job: Job, cluster: Cluster | None, worker: str) -> Iterator[Cluster | None]:
    """Starts this machine's other processes, one for each further device, and meets all others.

    Args:
        job: The training, which these processes do, too.
        cluster: The machines that train together, one process each; None: this one alone.
        worker: The module that these processes run.

    Yields:
        All processes of all machines, and which of them this one is.

    Raises:
        WorkError: They did not come, or one of them is gone.
    """
    place = placement()
    if cluster is None and place.local_world_size == 1:
        yield cluster
        return
    with ExitStack() as stack:
        store, whole = _meeting(cluster, place.local_world_size)
        workers = [
            stack.enter_context(_worker(worker, number, job, cluster, replace(whole, index=whole.index + number)))
            for number in range(1, place.local_world_size)
        ]
        stack.enter_context(joined(whole, store))
        try:
            yield whole
        except WorkError as error:
            said = next(filter(None, map(_last_words, workers)), None)
            if said is None:
                raise
            raise WorkError(f"{error}; that process said: {said}") from error


def _meeting(cluster: Cluster | None, local: int) -> tuple[distributed.TCPStore | None, Cluster]:
    """Returns where all processes meet, if that is here already, and what they are together."""
    if cluster is not None:
        return None, Cluster(cluster.coordinator, cluster.processes * local, cluster.index * local)
    store = distributed.TCPStore("127.0.0.1", 0, local, is_master=True, wait_for_workers=False, timeout=_START)
    return store, Cluster(f"127.0.0.1:{store.port}", local, 0)


@contextmanager
def joined(cluster: Cluster, store: distributed.TCPStore | None = None) -> Iterator[None]:
    """Lets this process be one of those that compute together.

    Raises:
        WorkError: The others did not come, or one of them is gone.
    """
    with connected(cluster):
        store = store or _store(cluster, is_master=cluster.index == 0)
        kinds = "cpu:gloo,cuda:nccl" if placement().device.type == "cuda" else "gloo"
        distributed.init_process_group(
            kinds, store=store, rank=cluster.index, world_size=cluster.processes, timeout=_START
        )
    is_over = threading.Event()
    watch = threading.Thread(target=_watch, args=(cluster, is_over), name="elboflow-peers", daemon=True)
    watch.start()
    try:
        with connected(cluster):
            yield
            distributed.barrier()  # the store is the coordinator's: it must not end before the others
    finally:
        is_over.set()
        watch.join()
        distributed.destroy_process_group()


@contextmanager
def connected(cluster: Cluster | None = None) -> Iterator[None]:
    """Says what it means when a computation fails for which processes wait for each other.

    Raises:
        WorkError: One of them is gone.
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
    """Returns how many processes compute together; 1 where this one is alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def averaged(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Returns the mean of each tensor over all processes, in one exchange."""
    joint = torch.cat([tensor.reshape(-1) for tensor in tensors])
    with connected():
        distributed.all_reduce(joint)
    joint /= distributed.get_world_size()
    parts = joint.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def agreed(numbers: np.ndarray) -> np.ndarray:
    """Returns the largest of each number over all processes."""
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


def _watch(cluster: Cluster, is_over: threading.Event) -> None:
    """Ends this process when another one is lost and nothing else notices."""
    others = [number for number in range(cluster.processes) if number != cluster.index]
    heard, silence = dict.fromkeys(others, -1), dict.fromkeys(others, 0)
    try:
        store = _store(cluster)  # a connection of its own: a thread that waits keeps it
        while not is_over.wait(_SECONDS_BETWEEN_BEATS):
            store.add(f"elboflow/{cluster.index}", 1)
            for number in others:
                beats = store.add(f"elboflow/{number}", 0)
                silence[number] = 0 if beats != heard[number] else silence[number] + _SECONDS_BETWEEN_BEATS
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
    """A process of this machine that trains as this one does, with the next device."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            env={**os.environ, LOCAL_RANK: str(number), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            assert process.stdin
            with process.stdin:
                pickle.dump((job.training, machines, whole), process.stdin)
                pickle.dump(job, process.stdin)  # it needs Keras, which is imported when the devices are chosen
            yield process, said
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            logger.warning("process %d of this machine does not end; it is ended", number)
        except BaseException:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_TO_END)
            raise
        finally:
            process.kill()
            process.wait()


def _last_words(worker: Worker) -> str | None:
    """Returns what a worker that failed said last."""
    process, said = worker
    try:
        if process.wait(_SECONDS_TO_END) == 0:
            return None
    except subprocess.TimeoutExpired:
        return None
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"nothing, and ended with {process.returncode}"
