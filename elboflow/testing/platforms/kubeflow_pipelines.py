"""Kubeflow's pipelines and their versions: uploaded, listed, got and deleted."""

from typing import Any

import yaml

from elboflow.testing.platforms import specifications
from elboflow.testing.platforms.clock import now
from elboflow.testing.platforms.kubeflow_api import KubeflowAPI, new_id, written
from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.storage import parts
from elboflow.testing.platforms.wire import route

_PIPELINE = ("pipeline_id", "display_name", "name", "created_at", "description", "namespace")
_VERSION = ("pipeline_version_id", "display_name", "name", "created_at", "description")
_MOMENT = "created_at"


class Pipelines(KubeflowAPI):
    """The pipelines that were published.

    Attributes:
        pipelines: By their ids.
        versions: By their ids.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}

    def version_spec(self, reference: dict[str, str]) -> dict[str, Any]:
        """Returns what a reference to a version stands for; without a version, the pipeline's latest."""
        found = self._versions_of(reference.get("pipeline_id", ""))
        if id := reference.get("pipeline_version_id"):
            found = [version for version in found if version["pipeline_version_id"] == id]
        if not found:
            raise RefusedError(404, f"PipelineVersion {reference.get('pipeline_version_id', '')} not found.")
        spec: dict[str, Any] = found[-1]["pipeline_spec"]
        return spec

    @route("POST", "/apis/v2beta1/pipelines/upload")
    def upload_pipeline(self, request: Request) -> Reply:
        """Makes a pipeline and its first version."""
        request.only("name", "display_name", "description", "namespace", "tags")
        document = self._uploaded(request)
        name = request.one("name") or request.one("display_name") or _spec(document)["pipelineInfo"]["name"]
        with self.creating:
            if any(each["name"] == name for each in self.pipelines.values()):
                raise RefusedError(409, f"Already exist error: The pipeline {name} already exists.")
            id = new_id()
            made = {"pipeline_id": id, "name": name, "display_name": request.one("display_name") or name}
            made |= {"description": request.one("description"), "namespace": self.namespace(request.one("namespace"))}
            self.pipelines[id] = {**made, _MOMENT: written(now())}
            self._add(id, name, request.one("description"), document)
        return answer(self.pipelines[id])

    @route("POST", "/apis/v2beta1/pipelines/upload_version")
    def upload_version(self, request: Request) -> Reply:
        """Makes a version of a pipeline."""
        request.only("name", "display_name", "pipelineid", "description", "tags")
        document, name = self._uploaded(request), request.one("name") or request.one("display_name")
        pipeline = self._pipeline(request.one("pipelineid"))
        with self.creating:
            if any(version["name"] == name for version in self._versions_of(pipeline["pipeline_id"])):
                raise RefusedError(409, f"Already exist error: The version {name} already exists.")
            return answer(self._add(pipeline["pipeline_id"], name, request.one("description"), document))

    @route("GET", "/apis/v2beta1/pipelines")
    def list_pipelines(self, request: Request) -> Reply:
        """Lists pipelines."""
        self.namespace(request.one("namespace"))
        return self.listed(request, "pipelines", list(self.pipelines.values()), _PIPELINE)

    @route("GET", "/apis/v2beta1/pipelines/{id}")
    def get_pipeline(self, request: Request, id: str) -> Reply:
        """Returns a pipeline."""
        return answer(self._pipeline(id))

    @route("GET", "/apis/v2beta1/pipelines/names/{name}")
    def get_pipeline_by_name(self, request: Request, name: str) -> Reply:
        """Returns the pipeline of a name."""
        for pipeline in self.pipelines.values():
            if pipeline["name"] == name:
                return answer(pipeline)
        raise RefusedError(404, f"Pipeline {name} not found.")

    @route("DELETE", "/apis/v2beta1/pipelines/{id}")
    def delete_pipeline(self, request: Request, id: str) -> Reply:
        """Deletes a pipeline without versions, or with cascade=true any."""
        self._pipeline(id)
        versions = self._versions_of(id)
        if versions and request.one("cascade") != "true":
            raise RefusedError(400, f"Invalid input error: the pipeline {id} has versions")
        for version in versions:
            del self.versions[version["pipeline_version_id"]]
        del self.pipelines[id]
        return answer({})

    @route("GET", "/apis/v2beta1/pipelines/{id}/versions")
    def list_versions(self, request: Request, id: str) -> Reply:
        """Lists the versions of a pipeline."""
        self._pipeline(id)
        return self.listed(request, "pipeline_versions", self._versions_of(id), _VERSION)

    @route("GET", "/apis/v2beta1/pipelines/{id}/versions/{version}")
    def get_version(self, request: Request, id: str, version: str) -> Reply:
        """Returns a version."""
        return answer(self._version(id, version))

    @route("DELETE", "/apis/v2beta1/pipelines/{id}/versions/{version}")
    def delete_version(self, request: Request, id: str, version: str) -> Reply:
        """Deletes a version."""
        self._version(id, version)
        del self.versions[version]
        return answer({})

    def _uploaded(self, request: Request) -> dict[str, Any]:
        (file,) = parts(request)
        documents = list(yaml.safe_load_all(file.get_payload(decode=True)))
        specifications.checked(documents[0])
        return documents[0] if len(documents) == 1 else {"pipeline_spec": documents[0], "platform_spec": documents[1]}

    def _add(self, pipeline: str, name: str, description: str, document: dict[str, Any]) -> dict[str, Any]:
        id = new_id()
        made = {"pipeline_id": pipeline, "pipeline_version_id": id, "name": name, "display_name": name}
        made |= {"description": description, _MOMENT: written(now())}
        self.versions[id] = {**made, "pipeline_spec": document}
        return self.versions[id]

    def _pipeline(self, id: str) -> dict[str, Any]:
        if id not in self.pipelines:
            raise RefusedError(404, f"Pipeline {id} not found.")
        return self.pipelines[id]

    def _versions_of(self, pipeline: str) -> list[dict[str, Any]]:
        return [version for version in self.versions.values() if version["pipeline_id"] == pipeline]

    def _version(self, pipeline: str, id: str) -> dict[str, Any]:
        if id not in self.versions or self.versions[id]["pipeline_id"] != pipeline:
            raise RefusedError(404, f"PipelineVersion {id} not found.")
        return self.versions[id]


def _spec(document: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = document.get("pipeline_spec", document)
    return spec
