"""Distributed training on TensorFlow: the connection of the machines, and errors about lost machines."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from elboflow.settings import WorkError
from elboflow.vae.compute.cluster import Cluster

logger = logging.getLogger("elboflow.training")

_UNREACHABLE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)


def join(cluster: Cluster, gpus: int) -> tf.distribute.Strategy:
    """Connects to the other machines, once per process.

    Args:
        cluster: The machines.
        gpus: The number of GPUs of this machine; 0 for its CPU.

    Returns:
        The strategy over all devices of all machines.

    Raises:
        RuntimeError: TensorFlow is already initialised in this process.
        WorkError: Another machine did not connect.
    """
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.workers)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
        num_accelerators={"GPU": gpus} if gpus else {},
    )
    logger.info("machine %d of %d waits for the others at %s", cluster.index, cluster.processes, cluster.coordinator)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except tf.errors.OpError as error:
        raise WorkError(
            f"machine {cluster.index} of {cluster.processes} did not meet the others: {_first_line(error)}"
        ) from None


@contextmanager
def connected(cluster: Cluster | None) -> Iterator[None]:
    """Explains the failure of a collective operation.

    Args:
        cluster: The machines; None for a single machine.

    Raises:
        WorkError: Another machine ended or cannot be reached.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if cluster is None or not isinstance(error, _UNREACHABLE):
            raise
        raise WorkError(
            f"machine {cluster.index} of {cluster.processes} stops: {_lost(cluster, error)} ended, or cannot "
            "be reached any more. Started again, all go on from the last checkpoint"
        ) from error


def _lost(cluster: Cluster, error: tf.errors.OpError) -> str:
    """Returns the machine that an error names, for the message."""
    named = re.search(r"/task:(\d+) while calling", str(error.message))
    others = [number for number in range(cluster.processes) if number != cluster.index]
    lost = int(named[1]) if named else others[0]
    if lost not in others or (named is None and len(others) > 1):
        return "another machine"
    return f"machine {lost}, {cluster.workers[lost]},"


def _first_line(error: tf.errors.OpError) -> str:
    return str(error.message).strip().partition("\n")[0]
