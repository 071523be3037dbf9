"""The machines that train one model together."""

from dataclasses import dataclass

# Machines do not all start at once: a platform may still be pulling an image for one of them.
START_SECONDS = 600
# A process that has not been heard of for so long is lost. A connection that breaks, as when a process is killed, is
# noticed at once.
SILENCE_SECONDS = 30


@dataclass(frozen=True)
class Cluster:
    """Several machines with one process each, which uses all devices of its machine.

    Attributes:
        coordinator: HOST:PORT of process 0, where all meet.
        processes: How many there are, two at least.
        index: The number of this one, from 0.
        workers: HOST:PORT of every process, by index; empty where only the coordinator is known.
    """

    coordinator: str
    processes: int
    index: int
    workers: tuple[str, ...] = ()

    @property
    def chief(self) -> bool:
        """Whether this is the process that writes checkpoints, the model and the curves. The others only compute."""
        return self.index == 0


def lost(called: str, index: int, count: int) -> str:
    """Says that one of those that train together has lost another one.

    Args:
        called: What they are: machine or process.
        index: The number of the one that says it, from 0.
        count: How many there are.
    """
    return (
        f"{called} {index} of {count} has lost another one, which ended or cannot be reached; "
        "start all of them again: they go on from the last checkpoint"
    )
