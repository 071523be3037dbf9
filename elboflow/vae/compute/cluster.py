"""The machines of a distributed training."""

from dataclasses import dataclass

# The timeout of the first connection. Machines start at different times, because a platform may have to pull an image.
START_SECONDS = 600
# A process without a heartbeat for this time is lost. A broken connection, as after a kill, is noticed at once.
SILENCE_SECONDS = 30


@dataclass(frozen=True)
class Cluster:
    """Several machines, each with one process that uses all devices of its machine.

    Attributes:
        coordinator: HOST:PORT of process 0, to which all processes connect.
        processes: The number of processes, at least 2.
        index: The index of this process, from 0.
        workers: HOST:PORT of every process, by index; empty if only the coordinator is known.
    """

    coordinator: str
    processes: int
    index: int
    workers: tuple[str, ...] = ()

    @property
    def chief(self) -> bool:
        """Whether this process writes checkpoints, the model and the curves. The other processes only compute."""
        return self.index == 0


def lost(called: str, index: int, count: int) -> str:
    """Returns the message for the loss of another machine or process.

    Args:
        called: "machine" or "process".
        index: The index of this machine or process, from 0.
        count: The number of machines or processes.
    """
    return (
        f"{called} {index} of {count} has lost another one, which ended or cannot be reached; "
        "start all of them again: they go on from the last checkpoint"
    )
