"""Releases for Vertex AI: pipelines in an Artifact Registry repository of the format KFP.

There, a version is known by its digest, and a name is a tag, which can be moved. So a tag is created and never moved,
and a run is submitted of the digest. The API: https://cloud.google.com/vertex-ai/docs/pipelines/create-pipeline-template.
"""

import hashlib
import re
from contextlib import AbstractContextManager
from functools import cached_property

from components.surroundings import google
from elboflow.settings import RequestError
from pipelines.experiment import Experiment
from pipelines.targets.errors import Remedies
from pipelines.targets.vertex.connection import Connection, explained

_GOOGLE = re.compile(r"https://([\w-]+)-kfp\.pkg\.dev/([^/]+)/([^/]+)")


class Repository:
    """A repository of pipelines.

    Args:
        address: https://LOCATION-kfp.pkg.dev/PROJECT/REPOSITORY. A host of another name has the resources, too.
    """

    def __init__(self, address: str, connection: Connection) -> None:
        self._address, self._connection = address.rstrip("/"), connection
        found = _GOOGLE.fullmatch(self._address)
        self._parent, self._api = "", self._address
        if found is not None:
            location, project, name = found.groups()
            self._parent = f"projects/{project}/locations/{location}/repositories/{name}/"
            self._api = f"{google.address('artifactregistry')}/v1/{self._parent}".rstrip("/")

    @classmethod
    def of(cls, experiment: Experiment) -> "Repository":
        """Returns the repository that an experiment names."""
        target = experiment.targets.vertex
        if target is None or target.repository is None:
            raise RequestError(
                "targets.vertex.repository: missing; versions for vertex are kept in an Artifact Registry repository "
                "of pipelines: https://LOCATION-kfp.pkg.dev/PROJECT/REPOSITORY"
            )
        return cls(target.repository, Connection.of(target))

    @cached_property
    def _session(self) -> google.Session:
        return self._connection.session()

    def find(self, pipeline: str, version: str) -> tuple[str, str | None] | None:
        """Returns the address of a version by its digest, and the digest of the file that it holds."""
        with self._asking(f"the version {version} of {pipeline}"):
            try:
                tag = self._session.get(f"{self._tags(pipeline)}/{version}")
            except google.GoogleError as error:
                if error.status != 404:
                    raise
                with self._asking("the repository"):
                    self._session.get(f"{self._api}/packages")
                return None
            address = f"{self._address}/{pipeline}/{tag['version'].rpartition('/')[2]}"
            return address, hashlib.sha256(self._session.retried("GET", address).content).hexdigest()

    def put(self, pipeline: str, version: str, specification: str, digest: str) -> str:
        """Uploads a version, which has its digest for a name, and creates its tag: both are safe to repeat."""
        file = {"content": ("pipeline.yaml", specification.encode())}
        with self._asking(f"the version {version} of {pipeline}"):
            package, _, uploaded = self._session.retried("POST", self._address, files=file).text.partition("/")
            tag = {"name": "", "version": f"{self._parent}packages/{package}/versions/{uploaded}"}
            try:
                self._session.retried("POST", self._tags(package), params={"tagId": version}, json=tag)
            except google.GoogleError as error:
                if error.status == 409:
                    raise FileExistsError(version) from None
                raise
        return f"{self._address}/{package}/{uploaded}"

    def _tags(self, package: str) -> str:
        return f"{self._api}/packages/{package}/tags"

    def _asking(self, what: str) -> AbstractContextManager[None]:
        remedies = Remedies(
            self._address,
            login=f"renew them: {google.LOGIN}",
            role="the publisher needs the role roles/artifactregistry.writer, the account of the runs "
            "roles/artifactregistry.reader",
            lookup="look at targets.vertex.repository",
            address="targets.vertex.repository",
        )
        return explained(self._connection, remedies, what)
