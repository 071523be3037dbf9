"""The machines that compute together on JAX: how they meet, and how each ends when it has lost another."""

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
_handlers: list[object] = []  # what C calls must stay


def join(cluster: Cluster) -> None:
    """Meets the other machines, once in the life of a process.

    Raises:
        WorkError: They did not come.
    """
    if jax.distributed.is_initialized():
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for itself
    _end_with_a_message(cluster)
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
    """Says what it means when a computation fails for which machines wait for each other.

    Raises:
        WorkError: One of them is gone.
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


def _end_with_a_message(cluster: Cluster) -> None:
    """Lets this process end with exit code 1 and one clear line where JAX would abort it, and without waiting.

    JAX's own threads abort the process as soon as they have lost the coordinator, or have been told by it that another
    machine is lost. The callback that they offer instead cannot be called (jaxlib 0.10: std::bad_cast). The thread that
    aborts raises SIGABRT for itself, and no other handler than one of C's runs in it.
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
    """Ends the process before JAX's own ending, which would wait for those that are gone."""
    if _is_lost:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
