"""Where the Beam graph runs: in this process, on a Flink cluster, or on Dataflow. `engines.py` does it."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from elboflow.settings import Settings, by_name
from elboflow.settings.explain import written
from elboflow.settings.locations import allowing
from preprocessing.files import SCHEMES

Address = Annotated[str, written(r"[^\s:/]+:\d{1,5}", "be HOST:PORT")]
BucketFolder = Annotated[str, written(r"gs://[^/\s]+(/[^/\s]+)*", "be gs://BUCKET or gs://BUCKET/FOLDER")]

Project = Annotated[str, written(r"[a-z][-a-z0-9:.]{4,61}[a-z0-9]", "be a project's id")]


class DirectRunner(Settings):
    """In the process of the step, on `data.workers` threads."""

    kind: Literal["direct"] = "direct"


class FlinkRunner(Settings):
    """On a Flink cluster, through the job server in front of it.

    Attributes:
        job_server: HOST:PORT of the job server.
        image: The image of the Beam workers, which task managers start as containers; without one, they find workers
            in the pool.
        pool: HOST:PORT of the pool of workers beside each task manager, which
            `python -m apache_beam.runners.worker.worker_pool_main` serves in the image of the steps.
        parallelism: How many workers there are at once; by default what the cluster is set to.
        temporary: Where workers write until the dataset is whole: a URI, or a folder of a volume that they share with
            the step; by default the dataset's own folder.
    """

    kind: Literal["flink"] = "flink"
    job_server: Address
    image: str | None = None
    pool: Address = "localhost:50000"
    parallelism: Annotated[int, Field(ge=1)] | None = None
    temporary: Annotated[str, allowing(*SCHEMES)] | None = None


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
        subnetwork: Where they are: regions/REGION/subnetworks/NAME, or its full address.
        public_addresses: Whether they have addresses on the internet.
        encryption_key: The customer-managed key of what Dataflow keeps.
        endpoint: Another address of the API, such as that of a private endpoint.
    """

    kind: Literal["dataflow"] = "dataflow"
    project: Project | None = None
    region: str | None = None
    temporary: BucketFolder | None = None
    image: str | None = None
    workers: Annotated[int, Field(ge=1)] = 10
    machine: str | None = None
    service_account: str | None = None
    subnetwork: str | None = None
    public_addresses: bool = True
    encryption_key: str | None = None
    endpoint: str | None = None


Runner = Annotated[DirectRunner | FlinkRunner | DataflowRunner, Field(discriminator="kind"), BeforeValidator(by_name)]
