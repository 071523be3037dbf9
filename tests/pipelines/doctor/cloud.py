"""What a doctor asks, on one server: Google's APIs, an image registry, MLflow, Kubeflow."""

import base64

from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.wire import WireServer, route

BEHIND_KUBERNETES = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy"
"""Where the API server of a cluster shows Kubeflow Pipelines to whoever has a kubeconfig."""
MANIFEST = "application/vnd.oci.image.index.v1+json"


class Cloud(WireServer):
    """A project where all is well until an attribute says otherwise.

    Attributes:
        enabled: The APIs of the project.
        allowed: The permissions that the caller has on the bucket `data`.
        limits: The effective limit of each quota metric, by region; None is the bucket without dimensions.
        images: The images of the registry, as REPOSITORY:TAG.
        login: Whether the registry wants the token that it gives to anybody.
        mlflow: The version of MLflow.
        kubeflow: The version of Kubeflow Pipelines; None where it does not say it.
        namespaces: Those in which runs may be listed; None where Kubeflow has one user, and no namespaces.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enabled = {"aiplatform", "storage", "logging"}
        self.allowed = {f"storage.objects.{verb}" for verb in ("create", "delete", "get", "list")}
        self.limits: dict[str, dict[str | None, int]] = {}
        self.images = {"vae/cpu:1"}
        self.login = False
        self.mlflow = "3.1.0"
        self.namespaces: set[str] | None = {"kubeflow"}
        self.kubeflow: str | None = "2.15.2"

    def _of_google(self, request: Request) -> None:
        if request.headers.get("authorization") != "Bearer of-a-robot":
            raise RefusedError(401, "Request had invalid authentication credentials.")
        if request.headers.get("x-goog-user-project") != "elbo-prod":
            raise RefusedError(403, "No quota project.")

    @route("POST", "/token")
    def token_of_a_service_account(self, request: Request) -> Reply:
        """Exchanges a signed assertion for a token."""
        return answer({"access_token": "of-a-robot", "expires_in": 3600, "token_type": "Bearer"})

    @route("GET", "/v1/projects/elbo-prod/services:batchGet")
    def services(self, request: Request) -> Reply:
        """Tells of the services asked for whether they are enabled."""
        self._of_google(request)
        found = []
        for name in request.query["names"]:
            api = name.removeprefix("projects/elbo-prod/services/").removesuffix(".googleapis.com")
            state = "ENABLED" if api in self.enabled else "DISABLED"
            found.append({"name": name, "config": {"name": f"{api}.googleapis.com"}, "state": state})
        return answer({"services": found})

    @route("GET", "/v1beta1/projects/elbo-prod/services/aiplatform.googleapis.com/consumerQuotaMetrics/{metric}")
    def quota(self, request: Request, metric: str) -> Reply:
        """Tells the limits of a metric."""
        self._of_google(request)
        name = metric.removeprefix("aiplatform.googleapis.com/")
        if name == metric or name not in self.limits:
            raise RefusedError(404, f"Quota metric {metric} not found.")
        buckets = [
            {"effectiveLimit": str(limit), **({"dimensions": {"region": region}} if region else {})}
            for region, limit in self.limits[name].items()
        ]
        return answer({"metric": metric, "consumerQuotaLimits": [{"quotaBuckets": buckets}]})

    @route("GET", "/storage/v1/b/{bucket}/iam/testPermissions")
    def permissions(self, request: Request, bucket: str) -> Reply:
        """Tells which of the permissions asked for there are."""
        self._of_google(request)
        if bucket != "data":
            raise RefusedError(404, "The specified bucket does not exist.")
        return answer({"permissions": [each for each in request.query["permissions"] if each in self.allowed]})

    @route("HEAD", "/v2/{repository+}/manifests/{reference+}")
    def manifest(self, request: Request, repository: str, reference: str) -> Reply:
        """Tells of an image."""
        assert MANIFEST in request.headers["accept"]
        if self.login and request.headers.get("authorization") != "Bearer of-anybody":
            challenge = f'Bearer realm="{self.url}/login",service="here",scope="repository:{repository}:pull"'
            return Reply(status=401, headers={"WWW-Authenticate": challenge})
        if f"{repository}:{reference}" not in self.images:
            return Reply(status=404)
        return Reply(kind=MANIFEST, headers={"Docker-Content-Digest": "sha256:0123"})

    @route("GET", "/login")
    def log_in(self, request: Request) -> Reply:
        """Gives anybody a token, as public registries do."""
        assert request.one("service") == "here"
        assert request.one("scope").endswith(":pull")
        return answer({"token": "of-anybody"})

    @route("GET", "/mlflow/version")
    def version_of_mlflow(self, request: Request) -> Reply:
        """Tells the version."""
        expected = base64.b64encode(b"me:secret").decode()
        if self.mlflow == "guarded":
            if request.headers.get("authorization") != f"Basic {expected}":
                raise RefusedError(401, "You are not authenticated.")
            return Reply(b"3.1.0", kind="text/html")
        return Reply(self.mlflow.encode(), kind="text/html")

    @route("GET", "/apis/v2beta1/healthz")
    @route("GET", f"{BEHIND_KUBERNETES}/apis/v2beta1/healthz")
    def healthz(self, request: Request) -> Reply:
        """Tells whether Kubeflow has several users, and its version."""
        told = {"tag_name": self.kubeflow} if self.kubeflow else {}
        return answer({"multi_user": self.namespaces is not None, **told})

    @route("GET", "/apis/v2beta1/runs")
    @route("GET", f"{BEHIND_KUBERNETES}/apis/v2beta1/runs")
    def runs(self, request: Request) -> Reply:
        """Lists no runs to who carries the token."""
        if request.headers.get("authorization") != "Bearer of-kubeflow":
            return Reply(status=302, headers={"Location": "/dex"})
        if self.namespaces is None and request.one("namespace"):
            raise RefusedError(400, "In single-user mode, the namespace must be empty.")
        if self.namespaces is not None and request.one("namespace") not in self.namespaces:
            raise RefusedError(403, "not authorized")
        return answer({"runs": []})
