"""The section `targets` of an experiment: where the pipeline may run besides this machine, and on what.

It holds no secrets, only the names of environment variables, Kubernetes secrets and Secret Manager versions.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from elboflow.settings import PossiblyEmpty, Settings, by_name
from elboflow.settings.explain import ConflictsError, Problem, written
from elboflow.settings.zones import Timezone
from pipelines.targets.images import Image, Images, absent_images
from pipelines.targets.machines import (
    Amount,
    KubernetesComputing,
    KubernetesStep,
    VertexComputing,
    VertexStep,
    VertexTraining,
)
from preprocessing.engines import Engine
from preprocessing.engines.dataflow import Project
from preprocessing.engines.direct import Direct

HTTPAddress = Annotated[
    str,
    written(r"https?://[^\s@/]+(/\S*)?", "begin with http:// or https:// and have no spaces, no name and no password"),
]
TrackingURI = Annotated[HTTPAddress, Field(description="the address of the MLflow server")]
Root = Annotated[
    str,
    written(r"gs://[^/\s]+(/[^/\s]+)*", "be gs://BUCKET or gs://BUCKET/FOLDER, without a slash at the end"),
    Field(description="where artifacts go: gs://BUCKET/FOLDER"),
]
Variable = Annotated[
    str,
    written("[A-Za-z_][A-Za-z0-9_]*", "be the name of an environment variable"),
]
SecretVersion = Annotated[
    str,
    written(
        r"projects/[^/\s]+/secrets/[^/\s]+/versions/[^/\s]+",
        "be a Secret Manager version: projects/PROJECT/secrets/NAME/versions/VERSION",
    ),
]
Network = Annotated[
    str, written(r"projects/\d+/global/networks/[^/\s]+", "be projects/NUMBER/global/networks/NAME, by project number")
]
EncryptionKey = Annotated[
    str,
    written(
        r"projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+",
        "be a Cloud KMS key: projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY",
    ),
]
Label = Annotated[
    PossiblyEmpty, written("[a-z0-9_-]{0,63}", "be at most 63 lower-case letters, digits, underscores and hyphens")
]
LabelKey = Annotated[
    str,
    written(
        "[a-z][a-z0-9_-]{0,62}",
        "begin with a lower-case letter, and be at most 63 lower-case letters, digits, underscores and hyphens",
    ),
]


class KubernetesSecret(Settings):
    """A key of a Kubernetes secret."""

    name: str = Field(description="the name of the secret")
    key: str = Field(description="the key in the secret")


class Volume(Settings):
    """A persistent volume claim that every step mounts."""

    main: ClassVar = "claim"
    claim: str = Field(description="the name of the claim")
    mount: Annotated[str, written(r"/\S*", "be an absolute path")] = Field(description="the path at which steps see it")


class NoCredentials(Settings):
    """No credentials, as for an API behind a port-forward."""

    kind: Literal["none"] = "none"


class Token(Settings):
    """A bearer token."""

    kind: Literal["token"] = "token"
    variable: Variable = Field("KF_PIPELINES_TOKEN", description="the environment variable that holds it")


class Cookie(Settings):
    """The session cookie of Dex or of another identity provider in front of Kubeflow."""

    kind: Literal["cookie"] = "cookie"
    variable: Variable = Field("KF_PIPELINES_COOKIE", description="the environment variable that holds NAME=VALUE")


class IdentityAwareProxy(Settings):
    """Google's proxy in front of the API, asked with Application Default Credentials."""

    main: ClassVar = "client_id"
    kind: Literal["iap"] = "iap"
    client_id: str = Field(description="the OAuth client ID of the proxy")


class InCluster(Settings):
    """The service account of the pod that the command runs in."""

    kind: Literal["in_cluster"] = "in_cluster"


class KubeflowTarget(Settings):
    """Kubeflow Pipelines on a cluster."""

    image: Image | Images = Field(description="one image for all steps, or one for each kind of machine")
    tracking_uri: TrackingURI
    host: HTTPAddress | None = Field(
        None,
        description="the address of the Kubeflow Pipelines API; null: the cluster's own, from inside it or by "
        "kubeconfig",
    )
    namespace: str = Field("kubeflow", description="the namespace of the runs")
    timezone: Timezone = Field(
        "UTC",
        description="the timezone of all schedules, as CRON_SCHEDULE_TIMEZONE of Kubeflow's schedule controller says",
    )
    credentials: Annotated[
        NoCredentials | Token | Cookie | IdentityAwareProxy | InCluster,
        Field(discriminator="kind"),
        BeforeValidator(by_name),
    ] = Field(NoCredentials(), description="how requests to the API are authenticated")
    service_account: str | None = Field(
        None, description="the Kubernetes service account of the steps; null: Kubeflow's default"
    )
    pull_secrets: tuple[str, ...] = Field((), description="the names of image-pull secrets")
    secrets: dict[Variable, KubernetesSecret] = Field(
        default_factory=dict, description="environment variables of the steps, each from a Kubernetes secret"
    )
    volumes: tuple[Volume, ...] = Field((), description="persistent volume claims that every step mounts")
    runner: Engine = Field(Direct(), description="where the Beam graph of the preprocessing runs")
    preprocess: KubernetesStep = Field(KubernetesStep(), description="the pod of the step `preprocess`")
    train: KubernetesComputing = Field(KubernetesComputing(), description="the pod of the step `train`")
    evaluate: KubernetesComputing = Field(KubernetesComputing(), description="the pod of the step `evaluate`")
    registration: KubernetesStep = Field(KubernetesStep(), description="the pod of the step `register`")

    @model_validator(mode="after")
    def _exists(self) -> "KubeflowTarget":
        problems = absent_images(self.image, {"train": self.train.accelerator, "evaluate": self.evaluate.accelerator})
        for key in {"dataflow": ("project", "region", "temporary"), "flink": ("temporary",)}.get(self.runner.kind, ()):
            if getattr(self.runner, key) is None:
                problems.append(Problem(("runner", key), "missing; nothing else of a cluster says it"))
        if problems:
            raise ConflictsError(problems)
        return self


class DefaultCredentials(Settings):
    """Application Default Credentials."""

    kind: Literal["default"] = "default"


class Impersonation(Settings):
    """Application Default Credentials, acting as a service account."""

    main: ClassVar = "service_account"
    kind: Literal["impersonation"] = "impersonation"
    service_account: str = Field(description="the e-mail address of the service account")


class VertexTarget(Settings):
    """Vertex AI Pipelines."""

    project: Project = Field(description="the id of the Google Cloud project")
    location: str = Field(description="the region, such as europe-west4")
    root: Root
    image: Image | Images = Field(description="one image for all steps, or one for each kind of machine")
    tracking_uri: TrackingURI
    credentials: Annotated[
        DefaultCredentials | Impersonation, Field(discriminator="kind"), BeforeValidator(by_name)
    ] = Field(DefaultCredentials(), description="how requests to the API are authenticated")
    service_account: str | None = Field(
        None, description="the e-mail address of the steps' service account; null: Compute Engine's default"
    )
    network: Network | None = Field(None, description="the VPC network that steps are peered with; null: none")
    encryption_key: EncryptionKey | None = Field(
        None, description="the customer-managed key (Cloud KMS) of everything that a run leaves; null: Google's own"
    )
    labels: dict[LabelKey, Label] = Field(default_factory=dict, description="labels of runs and jobs")
    secrets: dict[Variable, SecretVersion] = Field(
        default_factory=dict,
        description="environment variables of the steps, each from a version of a secret in Secret Manager",
    )
    repository: HTTPAddress | None = Field(
        None, description="the Artifact Registry repository of compiled pipelines, for `elboflow publish`"
    )
    endpoint: str | None = Field(
        None, description="another address of the API, such as a private endpoint; null: the public one"
    )
    runner: Engine = Field(Direct(), description="where the Beam graph of the preprocessing runs")
    preprocess: VertexStep = Field(VertexStep(), description="the machine of the step `preprocess`")
    train: VertexTraining = Field(VertexTraining(), description="the machines of the step `train`")
    evaluate: VertexComputing = Field(VertexComputing(), description="the machine of the step `evaluate`")
    registration: VertexStep = Field(VertexStep(), description="the machine of the step `register`")

    @model_validator(mode="after")
    def _exists(self) -> "VertexTarget":
        problems = absent_images(self.image, {"train": self.train.accelerator, "evaluate": self.evaluate.accelerator})
        offer = self.evaluate.offer
        if offer is not None and offer.hosts > 1:
            sentence = f"{offer.chips} is not allowed: they are in {offer.hosts} machines, and evaluation runs on one"
            problems.append(Problem(("evaluate", "accelerator", "count"), sentence))
        if problems:
            raise ConflictsError(problems)
        return self


class LocalTarget(Settings):
    """This machine."""

    main: ClassVar = "threads"
    threads: Annotated[int, Field(ge=1)] | None = Field(
        None, description="threads of each step; null: as many as there are cores"
    )
    memory: Amount | None = Field(None, description="the memory of a run, such as 4Gi; with less, the run warns")
    tracking_uri: TrackingURI | None = Field(
        None, description="the address of the MLflow server; null: that of the workspace"
    )
    image: Image | None = Field(None, description="the image of the containers of `run --docker`")


class Targets(Settings):
    """Where the experiment may run, and on what."""

    local: LocalTarget = Field(LocalTarget(), description="runs on this machine")
    kubeflow: KubeflowTarget | None = Field(None, description="runs on Kubeflow Pipelines; null: not configured")
    vertex: VertexTarget | None = Field(None, description="runs on Vertex AI Pipelines; null: not configured")

    def unfit_for(self, backend: str) -> list[Problem]:
        """Returns the accelerators on which a model of that backend cannot be evaluated: TPUs know JAX only."""
        problems = []
        for name, target in (("kubeflow", self.kubeflow), ("vertex", self.vertex)):
            if target is None or target.evaluate.accelerator is None or backend == "jax":
                continue
            train, evaluate = target.train.accelerator, target.evaluate.accelerator
            if evaluate.of_kind.chip == "tpu" and (train is None or train.of_kind.chip != "tpu"):
                sentence = (
                    f"on {evaluate.kind}, a TPU, only JAX runs, and the model is trained with {backend}; train it on a "
                    "TPU too, or with `training.backend: jax`"
                )
                problems.append(Problem((name, "evaluate", "accelerator"), sentence))
        return problems
