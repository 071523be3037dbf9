"""Releases on Kubeflow: the versions of a pipeline, through `kfp.Client`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kfp_server_api import ApiException

from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import RequestError
from pipelines.experiment import Experiment
from pipelines.targets.kubeflow.api import API, equal
from pipelines.targets.kubeflow.connection import Connection

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class PipelineVersions:
    """The versions that Kubeflow keeps of each pipeline. Their descriptions hold the digest of what was uploaded.

    Kubeflow gives back a pipeline parsed, and not the bytes that it was uploaded as.
    """

    def __init__(self, api: API) -> None:
        self._api = api

    @classmethod
    def of(cls, experiment: Experiment) -> "PipelineVersions":
        """Returns those of the cluster that an experiment names."""
        target = experiment.targets.kubeflow
        if target is None:
            raise RequestError("targets.kubeflow: missing; it says which Kubeflow keeps the versions")
        return cls(API(Connection.of(target)))

    def find(self, pipeline: str, version: str) -> tuple[str, str | None] | None:
        """Returns PIPELINE_ID/VERSION_ID and the digest."""
        with self._api.asking(f"the pipeline {pipeline}"):
            id = self._pipeline(pipeline)
            found = self._version(id, version) if id is not None else None
        if found is None:
            return None
        told = _DIGEST.search(found.description or "")
        return f"{found.pipeline_id}/{found.pipeline_version_id}", told[1] if told else None

    def put(self, pipeline: str, version: str, specification: str, digest: str) -> str:
        """Uploads a version, and its pipeline where it is the first."""

        description = f"sha256:{digest}"
        with self._api.asking(f"the version {version} of {pipeline}"), _file(specification) as path:
            client = self._api.client
            id = self._pipeline(pipeline)
            if id is None:
                made = self._api.once(
                    lambda: client.upload_pipeline(
                        path, pipeline, "Published by `elboflow publish`.", client.get_user_namespace() or None
                    ),
                    lambda: self._found("pipelines", self._listed(pipeline)),
                )
                id = made.pipeline_id
                first = self._version(id, pipeline)  # which Kubeflow makes with a pipeline, under the pipeline's name
                if first is not None:
                    self._api.patiently(lambda: client.delete_pipeline_version(id, first.pipeline_version_id))
            try:
                added = self._api.once(
                    lambda: client.upload_pipeline_version(path, version, pipeline_id=id, description=description),
                    lambda: self._version(id, version),
                )
            except ApiException as error:
                if error.status == 409:
                    raise FileExistsError(version) from None
                raise
        return f"{added.pipeline_id}/{added.pipeline_version_id}"

    def _pipeline(self, name: str) -> str | None:
        found = self._found("pipelines", self._api.patiently(lambda: self._listed(name)))
        return None if found is None else str(found.pipeline_id)

    def _listed(self, name: str) -> Any:
        client = self._api.client
        namespace = client.get_user_namespace() or None
        return client.list_pipelines(page_size=2, filter=equal("display_name", name), namespace=namespace)

    def _version(self, pipeline_id: str, name: str) -> Any | None:
        listed = self._api.patiently(
            lambda: self._api.client.list_pipeline_versions(
                pipeline_id, page_size=2, filter=equal("display_name", name)
            )
        )
        return self._found("pipeline_versions", listed)

    def _found(self, what: str, listed: Any) -> Any | None:
        found = getattr(listed, what) or []
        return found[0] if found else None


@contextmanager
def _file(specification: str) -> Iterator[str]:
    with temporary_folder() as folder:
        path = folder / "pipeline.yaml"
        path.write_text(specification, encoding="utf-8")
        yield str(path)
