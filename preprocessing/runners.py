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
    """On Dataflow, in the project and region of the Vertex target.

    Attributes:
        workers: The most workers.
        machine: Their machine type.
        service_account: Who they are.
        subnetwork: Where they are.
        public_addresses: Whether they have addresses on the internet.
    """

    kind: Literal["dataflow"] = "dataflow"
    workers: Annotated[int, Field(ge=1)] = 10
    machine: str | None = None
    service_account: str | None = None
    subnetwork: str | None = None
    public_addresses: bool = True


Runner = Annotated[DirectRunner | FlinkRunner | DataflowRunner, Field(discriminator="kind"), BeforeValidator(by_name)]
