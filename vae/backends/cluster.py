"""The machines that train one model together."""

from dataclasses import dataclass


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
