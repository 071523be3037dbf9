"""Dataflow, Google Cloud's engine."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from elboflow.settings import RequestError
from elboflow.settings.explain import written
from preprocessing import files
from preprocessing.engines import VERTEX_MOUNT, Engine, unreadable
from preprocessing.engines._regions import region_of

if TYPE_CHECKING:
    import apache_beam as beam

BucketFolder = Annotated[str, written(r"gs://[^/\s]+(/[^/\s]+)*", "be gs://BUCKET or gs://BUCKET/FOLDER")]
Region = Annotated[str, region_of("Dataflow")]
Project = Annotated[str, written(r"[a-z][-a-z0-9:.]{4,61}[a-z0-9]", "be a project's id")]


class Dataflow(Engine):
    """Dataflow, Google Cloud's engine."""

    kind: Literal["dataflow"] = "dataflow"
    project: Project | None = Field(None, description="the Google Cloud project; null: that of the Vertex target")
    region: Region | None = Field(None, description="the region; null: the location of the Vertex target")
    temporary: BucketFolder | None = Field(
        None,
        description="the folder for Dataflow's staging and temporary files, gs://BUCKET/FOLDER; null: within `root` of "
        "the Vertex target",
    )
    image: str | None = Field(
        None,
        description="the container image of the workers, in which this project is installed; null: that of the target",
    )
    workers: Annotated[int, Field(ge=1)] = Field(10, description="the most workers at a time")
    machine: str | None = Field(None, description="the machine type of the workers; null: Dataflow chooses")
    service_account: str | None = Field(
        None, description="the e-mail address of the workers' service account; null: Dataflow's default"
    )
    subnetwork: str | None = Field(
        None,
        description="the subnetwork of the workers, regions/REGION/subnetworks/NAME or its full URL; null: the "
        "project's default network",
    )
    public_addresses: bool = Field(True, description="whether the workers have public IP addresses")
    encryption_key: str | None = Field(
        None, description="the customer-managed key (Cloud KMS) for Dataflow's data; null: Google's own"
    )
    endpoint: str | None = Field(
        None, description="another URL of the Dataflow API, such as a private endpoint; null: the public one"
    )

    def output_of(self, output: str) -> str:
        return f"gs://{output.removeprefix(VERTEX_MOUNT)}" if output.startswith(VERTEX_MOUNT) else output

    def check(self, paths: list[str], output: str) -> str:
        for path in paths:
            if not files.is_uri(path):
                mounted = path.startswith(VERTEX_MOUNT)
                wanted = (
                    f"write gs://{path.removeprefix(VERTEX_MOUNT)}" if mounted else "a URI is needed, such as gs://…"
                )
                raise unreadable("Dataflow's workers", path, wanted)
        needed = {name: getattr(self, name) for name in ("project", "region", "temporary", "image")}
        if absent := [f"runner.{name}" for name, value in needed.items() if value is None]:
            raise RequestError(f"{', '.join(absent)}: missing; Dataflow needs to know")
        _require_credentials()
        return output if output.startswith("gs://") else str(self.temporary)

    def run(self, threads: int, name: str, add_graph: "Callable[[beam.Pipeline], None]") -> None:
        from apache_beam.runners.dataflow import dataflow_runner

        from preprocessing.engines import _job

        options = {
            "project": self.project,
            "region": self.region,
            "temp_location": f"{self.temporary}/dataflow",
            "staging_location": f"{self.temporary}/dataflow",
            "sdk_container_image": self.image,
            "sdk_location": "container",
            "max_num_workers": self.workers,
            "machine_type": self.machine,
            "service_account_email": self.service_account,
            "subnetwork": self.subnetwork,
            "dataflow_kms_key": self.encryption_key,
            "dataflow_endpoint": self.endpoint,
        }
        flags = () if self.public_addresses else ("--no_use_public_ips",)
        place = f"Dataflow, {self.project}, {self.region}"
        job = _job.Job(place, dataflow_runner.DataflowRunner(), options, name, flags, self._console)
        _job.run(job, add_graph)

    def _console(self, result: Any) -> str:
        """Returns the engine and the page of a job in the Cloud console, for the log."""
        job = f"{self.region}/{result.job_id()}"
        return f"Dataflow: https://console.cloud.google.com/dataflow/jobs/{job}?project={self.project}"


def _require_credentials() -> None:
    """Checks that credentials exist, because Beam would retry for minutes, and then go on without credentials."""
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        google.auth.default()
    except DefaultCredentialsError:
        raise RequestError(
            "Dataflow: there are no Application Default Credentials; on a machine of your own, make them with "
            "`gcloud auth application-default login`"
        ) from None
