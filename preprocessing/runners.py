"""Where the Beam graph runs: in this process, on a Flink cluster, or on Dataflow."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from settings import Settings, by_name


class DirectRunner(Settings):
    """In the process of the step, on `data.workers` threads."""

    kind: Literal["direct"] = "direct"


class FlinkRunner(Settings):
    """On a Flink cluster, through the job server in front of it.

    Attributes:
        job_server: HOST:PORT of the job server.
        image: The image of the Beam workers; by default they run in the task managers' own Python.
    """

    kind: Literal["flink"] = "flink"
    job_server: str
    image: str | None = None


class DataflowRunner(Settings):
    """On Dataflow.

    Attributes:
        project: The project; by default the Vertex target's, as with the next three.
        region: The region.
        temporary: Where Dataflow keeps what it needs while it runs: gs://BUCKET/FOLDER.
        image: The image of the workers; it holds the installed project.
        workers: The most workers.
        machine: Their machine type.
        service_account: Who they are.
        subnetwork: Where they are.
        public_addresses: Whether they have addresses on the internet.
    """

    kind: Literal["dataflow"] = "dataflow"
    project: str | None = None
    region: str | None = None
    temporary: str | None = None
    image: str | None = None
    workers: Annotated[int, Field(ge=1)] = 10
    machine: str | None = None
    service_account: str | None = None
    subnetwork: str | None = None
    public_addresses: bool = True


Runner = Annotated[DirectRunner | FlinkRunner | DataflowRunner, Field(discriminator="kind"), BeforeValidator(by_name)]
