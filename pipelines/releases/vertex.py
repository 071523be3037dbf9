"""Releases for Vertex AI: an Artifact Registry repository of KFP pipelines, through `kfp.registry.RegistryClient`.

There, a version is known by its digest, and a name is a tag, which can be moved. So a tag is made, never moved; and a
run is submitted of the digest.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import RequestError, WorkError
from pipelines.experiment import Experiment
from pipelines.targets.vertex.connection import LOGIN, Connection, credentials


class Repository:
    """A repository of pipelines."""

    def __init__(self, address: str, client: Any) -> None:
        self._address, self._client = address.rstrip("/"), client

    @classmethod
    def of(cls, experiment: Experiment) -> "Repository":
        """Returns the repository that an experiment names."""
        target = experiment.targets.vertex
        if target is None or target.repository is None:
            raise RequestError(
                "targets.vertex.repository: missing; versions for vertex are kept in an Artifact Registry repository "
                "of pipelines: https://LOCATION-kfp.pkg.dev/PROJECT/REPOSITORY"
            )
        import google.auth.transport.requests  # RegistryClient uses it, and does not import it
        from kfp.registry import RegistryClient

        asking = credentials(Connection.of(target))
        if not asking.valid:
            with _explained(target.repository, "credentials"):
                asking.refresh(google.auth.transport.requests.Request())
        return cls(target.repository, RegistryClient(host=target.repository, auth=asking))

    def find(self, pipeline: str, version: str) -> tuple[str, str | None] | None:
        """Returns the address of a version by its digest, and the digest of the file that it holds."""
        import requests

        with _explained(self._address, f"the version {version} of {pipeline}"):
            try:
                named = self._client.get_tag(pipeline, version)["version"].rpartition("/")[2]
            except requests.HTTPError as error:
                if error.response.status_code == 404 and self._answers():
                    return None
                raise
            with temporary_folder() as folder:
                path = folder / "pipeline.yaml"
                self._client.download_pipeline(pipeline, version=named, file_name=str(path))
                held = hashlib.sha256(path.read_bytes()).hexdigest()
        return f"{self._address}/{pipeline}/{named}", held

    def put(self, pipeline: str, version: str, specification: str, digest: str) -> str:
        """Uploads a version, and gives it its tag."""
        import requests

        with _explained(self._address, f"the version {version} of {pipeline}"):
            with temporary_folder() as folder:
                path = folder / "pipeline.yaml"
                path.write_text(specification, encoding="utf-8")
                package, uploaded = self._client.upload_pipeline(str(path))
            try:
                self._client.create_tag(package, uploaded, version)
            except requests.HTTPError as error:
                if error.response.status_code == 409:
                    raise FileExistsError(version) from None
                raise
        return f"{self._address}/{package}/{uploaded}"

    def _answers(self) -> bool:
        """Whether the repository itself is there, when something in it is not."""
        self._client.list_packages()
        return True


@contextmanager
def _explained(address: str, what: str) -> Iterator[None]:
    import requests
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise RequestError(f"{address} does not accept the credentials (401); renew them: {LOGIN}") from error
        if status == 403:
            raise RequestError(
                f"{address} forbids {what} (403); the publisher needs the role roles/artifactregistry.writer, "
                "the account of the runs roles/artifactregistry.reader"
            ) from error
        if status == 404:
            raise RequestError(f"{address} is not there (404); look at targets.vertex.repository") from error
        kind = RequestError if status < 500 and status != 429 else WorkError
        raise kind(f"{address} refuses {what} ({status}): {error.response.text[:200]}") from error
    except requests.RequestException as error:
        raise WorkError(f"{address} cannot be reached: {error}; look at targets.vertex.repository") from error
    except GoogleAuthError as error:
        raise RequestError(f"{address}: Google refuses the credentials: {error}; renew them: {LOGIN}") from error
