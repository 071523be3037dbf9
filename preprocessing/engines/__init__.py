"""Engines: where the Beam graph runs. One kind is one file here, or an entry point in the group `elboflow.engines`.

The dataset is the same on every engine, byte for byte: shards are sorted by content, and the statistics are sums of
whole numbers. What differs is where workers are, and so which files they can reach.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from elboflow.settings import RequestError
from elboflow.settings.kinds import Kind

if TYPE_CHECKING:
    import apache_beam as beam

VERTEX_MOUNT = "/gcs/"
"""Where Vertex AI shows its steps all buckets."""


class Engine(Kind):
    """A kind of engine; an instance holds the settings of one.

    Attributes:
        is_here: Whether the workers are in this process.
    """

    group: ClassVar[str] = "elboflow.engines"
    folder: ClassVar[str | None] = __name__
    is_here: ClassVar[bool] = False

    def output_of(self, output: str) -> str:
        """Returns the dataset's folder under the name by which workers know it."""
        return output

    @abstractmethod
    def check(self, paths: list[str], output: str) -> str:
        """Looks, before anything runs, whether the workers can read the source and write their results.

        Args:
            paths: The files that the source consists of.
            output: The dataset's folder.

        Returns:
            The folder in which the workers write: the dataset's own, or the engine's temporary one.

        Raises:
            RequestError: They cannot.
        """

    @abstractmethod
    def run(self, threads: int, name: str, add_graph: "Callable[[beam.Pipeline], None]") -> None:
        """Runs a graph to its end.

        An exception during the wait, such as an interrupt or a SIGTERM, cancels what was started elsewhere.

        Args:
            threads: Of workers in this process; an engine elsewhere decides for itself.
            name: What an engine elsewhere calls the job, besides a part that no other job has.
            add_graph: Adds the graph to a pipeline.

        Raises:
            RequestError: The engine does not take its settings.
            WorkError: An engine elsewhere could not be reached, or the job failed there.
        """


def unreadable(workers: str, path: str, wanted: str) -> RequestError:
    """Returns the error of a file of the source that workers elsewhere cannot read, with what is wanted instead."""
    return RequestError(f"data.source: {workers} cannot read {path}, a path of this machine; {wanted}")
