"""Artifact Registry's KFP repositories, as `kfp.registry.RegistryClient` asks them under a host of one's own."""

import hashlib
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.specifications import checked
from elboflow.testing.platforms.storage import parts
from elboflow.testing.platforms.wire import WireServer, route


@dataclass
class Package:
    """A pipeline with its versions.

    Attributes:
        versions: The YAML of each, by its digest, in the order of their uploads.
        tags: Digests by tag.
        times: When each version came.
    """

    versions: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    times: dict[str, str] = field(default_factory=dict)


class Registry(WireServer):
    """Any number of repositories, at `URL/kfp/PROJECT/REPOSITORY`."""

    def __init__(self, token: str | None = None) -> None:
        super().__init__(token)
        self.repositories: dict[str, dict[str, Package]] = {}
        self._uploading = threading.Lock()

    def repository(self, project: str = "project", name: str = "pipelines") -> str:
        """Returns the address of a repository, which is made where there is none."""
        self.repositories.setdefault(f"{project}/{name}", {})
        return f"{self.url}/kfp/{project}/{name}"

    def template(self, address: str) -> bytes | None:
        """Returns the YAML behind the address of a version or a tag; None where there is none."""
        parts = address.removeprefix(f"{self.url}/kfp/").split("/")
        if len(parts) != 4:
            return None
        package = self.repositories.get("/".join(parts[:2]), {}).get(parts[2])
        return None if package is None else package.versions.get(package.tags.get(parts[3], parts[3]))

    @route("POST", "/kfp/{project}/{repository}")
    def upload_pipeline(self, request: Request, project: str, repository: str) -> Reply:
        """Takes a compiled pipeline, with tags, and answers PACKAGE/sha256:DIGEST."""
        packages = self._packages(project, repository)
        fields = {part.get_param("name", header="content-disposition"): part for part in parts(request)}
        content = fields["content"].get_payload(decode=True)
        tags = fields["tags"].get_content().strip().split(",") if "tags" in fields else []
        name = checked(next(yaml.safe_load_all(content))).pipeline_info.name
        version = f"sha256:{hashlib.sha256(content).hexdigest()}"
        with self._uploading:
            package = packages.setdefault(name, Package())
            package.versions.setdefault(version, content)
            package.times.setdefault(version, _now())
            package.tags.update(dict.fromkeys(tags, version))
        return Reply(f"{name}/{version}".encode(), kind="text/plain")

    @route("GET", "/kfp/{project}/{repository}/packages")
    def packages(self, request: Request, project: str, repository: str) -> Reply:
        """Lists packages."""
        found = self._packages(project, repository)
        return answer({"packages": [self._described(name) for name in sorted(found)]} if found else {})

    @route("GET", "/kfp/{project}/{repository}/packages/{package}")
    def package(self, request: Request, project: str, repository: str, package: str) -> Reply:
        """Returns a package."""
        self._package(project, repository, package)
        return answer(self._described(package))

    @route("DELETE", "/kfp/{project}/{repository}/packages/{package}")
    def delete_package(self, request: Request, project: str, repository: str, package: str) -> Reply:
        """Deletes a package."""
        self._package(project, repository, package)
        del self._packages(project, repository)[package]
        return answer({"done": True})

    @route("GET", "/kfp/{project}/{repository}/packages/{package}/versions")
    def versions(self, request: Request, project: str, repository: str, package: str) -> Reply:
        """Lists the versions of a package, each with its tags."""
        found = self._package(project, repository, package)
        return answer({"versions": [self._version(package, found, version) for version in found.versions]})

    @route("GET", "/kfp/{project}/{repository}/packages/{package}/versions/{version+}")
    def version(self, request: Request, project: str, repository: str, package: str, version: str) -> Reply:
        """Returns a version."""
        found = self._package(project, repository, package)
        if version not in found.versions:
            raise RefusedError(404, f"Version {version!r} was not found.")
        return answer(self._version(package, found, version))

    @route("GET", "/kfp/{project}/{repository}/packages/{package}/tags")
    def tags(self, request: Request, project: str, repository: str, package: str) -> Reply:
        """Lists the tags of a package."""
        found = self._package(project, repository, package)
        return answer({"tags": [_tag(package, tag, version) for tag, version in found.tags.items()]})

    @route("GET", "/kfp/{project}/{repository}/packages/{package}/tags/{tag}")
    def tag(self, request: Request, project: str, repository: str, package: str, tag: str) -> Reply:
        """Returns a tag."""
        found = self._package(project, repository, package)
        if tag not in found.tags:
            raise RefusedError(404, f"Tag {tag!r} was not found.")
        return answer(_tag(package, tag, found.tags[tag]))

    @route("POST", "/kfp/{project}/{repository}/packages/{package}/tags")
    def create_tag(self, request: Request, project: str, repository: str, package: str) -> Reply:
        """Makes a tag."""
        if request.one("tagId") in self._package(project, repository, package).tags:
            raise RefusedError(409, f"Tag {request.one('tagId')!r} exists already.")
        return self.update_tag(request, project, repository, package, request.one("tagId"))

    @route("PATCH", "/kfp/{project}/{repository}/packages/{package}/tags/{tag}")
    def update_tag(self, request: Request, project: str, repository: str, package: str, tag: str) -> Reply:
        """Moves a tag."""
        found, version = self._package(project, repository, package), request.json()["version"].rpartition("/")[2]
        if version not in found.versions:
            raise RefusedError(404, f"Version {version!r} was not found.")
        found.tags[tag] = version
        return answer(_tag(package, tag, version))

    @route("DELETE", "/kfp/{project}/{repository}/packages/{package}/tags/{tag}")
    def delete_tag(self, request: Request, project: str, repository: str, package: str, tag: str) -> Reply:
        """Deletes a tag."""
        if self._package(project, repository, package).tags.pop(tag, None) is None:
            raise RefusedError(404, f"Tag {tag!r} was not found.")
        return answer({})

    @route("GET", "/kfp/{project}/{repository}/{package}/{version+}")
    def download(self, request: Request, project: str, repository: str, package: str, version: str) -> Reply:
        """Returns the YAML of a version or a tag."""
        content = self.template(f"{self.url}{request.path}".replace("%3A", ":"))
        if content is None:
            raise RefusedError(404, f"{package}/{version} was not found.")
        return Reply(content, kind="application/yaml")

    def _packages(self, project: str, repository: str) -> dict[str, Package]:
        found = self.repositories.get(f"{project}/{repository}")
        if found is None:
            raise RefusedError(404, f"Repository {repository!r} was not found.")
        return found

    def _package(self, project: str, repository: str, package: str) -> Package:
        found = self._packages(project, repository).get(package)
        if found is None:
            raise RefusedError(404, f"Package {package!r} was not found.")
        return found

    def _described(self, name: str) -> dict[str, Any]:
        return {"name": f"packages/{name}", "createTime": _now(), "updateTime": _now()}

    def _version(self, name: str, package: Package, version: str) -> dict[str, Any]:
        tags = [_tag(name, tag, of) for tag, of in package.tags.items() if of == version]
        time = package.times[version]
        described = {"name": f"packages/{name}/versions/{version}", "createTime": time, "updateTime": time}
        return {**described, "relatedTags": tags} if tags else described


def _tag(package: str, tag: str, version: str) -> dict[str, str]:
    return {"name": f"packages/{package}/tags/{tag}", "version": f"packages/{package}/versions/{version}"}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
