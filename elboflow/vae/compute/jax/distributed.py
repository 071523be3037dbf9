"""Distributed training on JAX: the connection of the machines, and the end of a process that has lost another."""

import atexit
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import jax

from elboflow.settings import RequestError, WorkError
from elboflow.vae.compute.cluster import SILENCE_SECONDS, START_SECONDS, Cluster, lost

_is_lost = False
_handlers: list[object] = []  # keeps callbacks of C alive


def join(cluster: Cluster) -> None:
    """Connects to the other machines, once per process.

    Raises:
        WorkError: Another machine did not connect.
    """
    if jax.distributed.is_initialized():
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it would replace the SIGTERM handler
    _replace_abort(cluster)
    try:
        jax.distributed.initialize(
            cluster.coordinator,
            cluster.processes,
            cluster.index,
            cluster_detection_method="deactivate",
            initialization_timeout=START_SECONDS,
            heartbeat_timeout_seconds=SILENCE_SECONDS,
        )
    except RuntimeError as error:
        raise WorkError(
            f"machine {cluster.index} of {cluster.processes} did not meet the others at {cluster.coordinator}: {error}"
        ) from error


@contextmanager
def connected() -> Iterator[None]:
    """Explains the failure of a collective operation.

    Raises:
        WorkError: Another machine is lost.
    """
    global _is_lost
    try:
        yield
    except (RequestError, WorkError):
        raise
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # Gloo's errors are ValueErrors
        said = str(error)
        if jax.process_count() == 1 or not any(word in said for word in ("Gloo", "NCCL", "UNAVAILABLE", "CANCELLED")):
            raise
        _is_lost = True
        told = lost("machine", jax.process_index(), jax.process_count())
        raise WorkError(f"{told} ({said.splitlines()[0]})") from error


def _replace_abort(cluster: Cluster) -> None:
    """Replaces JAX's abort of the process by a one-line message and exit code 1, without waiting.

    JAX's threads abort the process when they have lost the coordinator, or when the coordinator reports a lost machine.
    JAX's callback for this case cannot be called (jaxlib 0.10: std::bad_cast). The aborting thread raises SIGABRT for
    itself, and only a C signal handler runs in that thread.
    """

    def abort(number: int) -> None:
        if not _is_lost:
            os.write(2, f"error: {lost('machine', cluster.index, cluster.processes)}\n".encode())
        os._exit(1)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(abort)
    _handlers.append(handler)
    ctypes.CDLL(None).signal(signal.SIGABRT, handler)
    atexit.register(_end_if_lost)


def _end_if_lost() -> None:
    """Ends the process before JAX's own exit handler, which would wait for lost machines."""
    if _is_lost:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
