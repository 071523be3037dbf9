"""A Flink cluster, through its Beam job server."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from elboflow.settings import WorkError
from elboflow.settings.explain import written
from elboflow.settings.locations import allowing
from preprocessing import files
from preprocessing.engines import Engine, unreadable
from preprocessing.files import SCHEMES

if TYPE_CHECKING:
    import apache_beam as beam

Address = Annotated[str, written(r"[^\s:/]+:\d{1,5}", "be HOST:PORT")]

PATIENCE = 10  # timeout of the connection to the job server, seconds


class Flink(Engine):
    """A Flink cluster, through its Beam job server."""

    main: ClassVar = "job_server"
    kind: Literal["flink"] = "flink"
    job_server: Address = Field(description="HOST:PORT of the job server")
    image: str | None = Field(
        None, description="the image of the Beam workers, which task managers start as containers; null: use `pool`"
    )
    pool: Address = Field(
        "localhost:50000",
        description="HOST:PORT of the worker pool beside each task manager, started in the image of the steps with "
        "`python -m apache_beam.runners.worker.worker_pool_main`",
    )
    parallelism: Annotated[int, Field(ge=1)] | None = Field(
        None, description="concurrent workers; null: as the cluster is set"
    )
    temporary: Annotated[str, allowing(*SCHEMES)] | None = Field(
        None,
        description="the folder for the workers' files until the commit: a URI, or a folder on a volume that the "
        "workers share with the step; null: the dataset folder",
    )

    def check(self, paths: list[str], output: str) -> str:
        for path in paths:
            if not files.is_uri(path) and not Path(path).is_absolute():
                wanted = "a URI, or an absolute path on a volume that they share, is needed"
                raise unreadable("the workers of the Flink cluster", path, wanted)
        folder = self.temporary or output
        return folder if files.is_uri(folder) else str(Path(folder).absolute())

    def run(self, threads: int, name: str, add_graph: "Callable[[beam.Pipeline], None]") -> None:
        from apache_beam.runners.portability.portable_runner import PortableRunner

        from preprocessing.engines import _job

        _require_job_server(self.job_server)
        workers = ("DOCKER", self.image) if self.image else ("EXTERNAL", self.pool)
        options = {
            "job_endpoint": self.job_server,
            "environment_type": workers[0],
            "environment_config": workers[1],
            "parallelism": self.parallelism,
        }
        _job.run(_job.Job(f"Flink, {self.job_server}", PortableRunner(), options, name), add_graph)


def _require_job_server(address: str) -> None:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise WorkError(f"no Flink job server answers at {address}: {error}") from None
