"""The section `targets` of an experiment: where the pipeline may run besides this machine, and on what.

It holds no secrets, only the names of environment variables, Kubernetes secrets and Secret Manager versions.
"""

from typing import Annotated, Literal

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
from pipelines.targets.regions import Region
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

    name: str
    key: str


class Volume(Settings):
    """A persistent volume claim that every step mounts."""

    claim: str
    mount: Annotated[str, written(r"/\S*", "be an absolute path")]


class NoCredentials(Settings):
    """Of an API behind a port-forward."""

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

    kind: Literal["iap"] = "iap"
    client_id: str


class InCluster(Settings):
    """The service account of the pod that the command runs in."""

    kind: Literal["in_cluster"] = "in_cluster"


class KubeflowTarget(Settings):
    """Kubeflow Pipelines on a cluster.

    Attributes:
        image: One image for all steps, or one for each kind of machine.
        tracking_uri: The MLflow that steps register with.
        host: The address of the Kubeflow Pipelines API; by default the cluster's own, from inside it or by kubeconfig.
        namespace: The namespace of the runs.
        timezone: Of all schedules: what CRON_SCHEDULE_TIMEZONE of Kubeflow's schedule controller says.
        credentials: How the API is told who asks.
        service_account: The Kubernetes service account of the steps.
        pull_secrets: Image-pull secrets.
        secrets: Environment variables of the steps, each from a Kubernetes secret.
        volumes: Claims that every step mounts.
        runner: The Beam runner of the preprocessing.
    """

    image: Image | Images
    tracking_uri: TrackingURI
    host: HTTPAddress | None = None
    namespace: str = "kubeflow"
    timezone: Timezone = "UTC"
    credentials: Annotated[
        NoCredentials | Token | Cookie | IdentityAwareProxy | InCluster,
        Field(discriminator="kind"),
        BeforeValidator(by_name),
    ] = NoCredentials()
    service_account: str | None = None
    pull_secrets: tuple[str, ...] = ()
    secrets: dict[Variable, KubernetesSecret] = Field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    runner: Engine = Direct()
    preprocess: KubernetesStep = KubernetesStep()
    train: KubernetesComputing = KubernetesComputing()
    evaluate: KubernetesComputing = KubernetesComputing()
    registration: KubernetesStep = KubernetesStep()

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

    kind: Literal["impersonation"] = "impersonation"
    service_account: str


class VertexTarget(Settings):
    """Vertex AI Pipelines.

    Attributes:
        project: The project's id.
        location: The region.
        root: Where artifacts go.
        image: One image for all steps, or one for each kind of machine.
        tracking_uri: The MLflow that steps register with.
        credentials: Who asks.
        service_account: Who the steps are.
        network: The VPC network that steps are peered with.
        encryption_key: The customer-managed key of everything that a run leaves.
        labels: Labels of runs and jobs.
        secrets: Environment variables of the steps, each from a version of a secret in Secret Manager.
        repository: The Artifact Registry repository of compiled pipelines, for `elboflow publish`.
        endpoint: Another address of the API, such as that of a private endpoint.
        runner: The Beam runner of the preprocessing.
    """

    project: Project
    location: Region
    root: Root
    image: Image | Images
    tracking_uri: TrackingURI
    credentials: Annotated[
        DefaultCredentials | Impersonation, Field(discriminator="kind"), BeforeValidator(by_name)
    ] = DefaultCredentials()
    service_account: str | None = None
    network: Network | None = None
    encryption_key: EncryptionKey | None = None
    labels: dict[LabelKey, Label] = Field(default_factory=dict)
    secrets: dict[Variable, SecretVersion] = Field(default_factory=dict)
    repository: HTTPAddress | None = None
    endpoint: str | None = None
    runner: Engine = Direct()
    preprocess: VertexStep = VertexStep()
    train: VertexTraining = VertexTraining()
    evaluate: VertexComputing = VertexComputing()
    registration: VertexStep = VertexStep()

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
    """This machine.

    Attributes:
        threads: Threads of each step; by default as many as there are cores.
        memory: What a run needs, such as 4Gi; it says so when there is less.
        tracking_uri: The MLflow that runs register with; by default the workspace's own.
        image: What the containers of `run --docker` are made of.
    """

    threads: Annotated[int, Field(ge=1)] | None = None
    memory: Amount | None = None
    tracking_uri: TrackingURI | None = None
    image: Image | None = None


class Targets(Settings):
    """Where the experiment may run, and on what."""

    local: LocalTarget = LocalTarget()
    kubeflow: KubeflowTarget | None = None
    vertex: VertexTarget | None = None

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
