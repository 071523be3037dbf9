"""Engines run the Beam graph. A kind is one file here, or an entry point in the group `elboflow.engines`.

The dataset is the same on every engine, byte for byte, because shards are sorted by content, and statistics are sums of
integers. Engines differ in the location of their workers, and so in the files that the workers can reach.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from elboflow.settings import RequestError
from elboflow.settings.kinds import Kind

if TYPE_CHECKING:
    import apache_beam as beam

VERTEX_MOUNT = "/gcs/"
"""The folder in which Vertex AI mounts all buckets for its steps."""


class Engine(Kind):
    """A kind of engine. An instance contains the settings of one engine.

    Attributes:
        is_here: Whether the workers run in this process.
    """

    group: ClassVar[str] = "elboflow.engines"
    folder: ClassVar[str | None] = __name__
    is_here: ClassVar[bool] = False

    def output_of(self, output: str) -> str:
        """Returns the path or URI of the dataset folder for the workers."""
        return output

    @abstractmethod
    def check(self, paths: list[str], output: str) -> str:
        """Checks, before a run, that the workers can read the source and write their results.

        Args:
            paths: The files of the source.
            output: The dataset folder.

        Returns:
            The folder for the files of the workers: the dataset folder, or a temporary folder of the engine.

        Raises:
            RequestError: The workers cannot read a file of the source, or settings of the engine are missing.
        """

    @abstractmethod
    def run(self, threads: int, name: str, add_graph: "Callable[[beam.Pipeline], None]") -> None:
        """Runs a graph to its end.

        An exception during the wait, such as an interrupt or a SIGTERM, cancels a remote job.

        Args:
            threads: The number of worker threads in this process. Remote engines ignore it.
            name: The prefix of the name of a remote job; a unique suffix is added.
            add_graph: Adds the graph to a pipeline.

        Raises:
            RequestError: The engine rejects its settings.
            WorkError: The remote engine cannot be reached, or the job failed.
        """


def unreadable(workers: str, path: str, wanted: str) -> RequestError:
    """Returns the error for a source file that remote workers cannot read.

    Args:
        workers: The workers, for the message.
        path: The local path.
        wanted: The paths that the workers can read, for the message.
    """
    return RequestError(f"data.source: {workers} cannot read {path}, a path of this machine; {wanted}")
