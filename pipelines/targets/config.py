"""The section `targets` of an experiment: where the pipeline may run besides this machine, and on what.

It holds no secrets, only the names of environment variables, Kubernetes secrets and Secret Manager versions.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from elboflow.settings import PossiblyEmpty, Settings, by_name
from elboflow.settings.explain import ConflictsError, Problem, nearest, written
from elboflow.settings.zones import Timezone
from pipelines.targets.images import Image, Images, absent_images
from pipelines.targets.machines import (
    Amount,
    KubernetesStep,
    LocalStep,
    Step,
    VertexStep,
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


STEPS = (
    *("preprocess", "train", "evaluate", "register"),
    *("begin", "search", "worker-pools", "choose", "choose-found"),  # of sweeps
    *("decide", "finish"),  # around the others, on platforms
)
"""The steps of all pipelines (`pipelines/graphs/`)."""
ACCELERATED = ("train", "evaluate")
"""The steps that can use an accelerator."""


def _is_step(name: str) -> str:
    if name not in STEPS:
        raise ValueError(f"there is no such step; {nearest(name, STEPS)}")
    return name


StepName = Annotated[str, AfterValidator(_is_step)]


class KubernetesSecret(Settings):
    """A key of a Kubernetes secret."""

    name: str
    key: str


class Volume(Settings):
    """A persistent volume claim that steps mount."""

    claim: str
    mount: Annotated[str, written(r"/\S*", "be an absolute path")]
    steps: tuple[StepName, ...] | None = Field(None, description="the steps that mount it; null: all but `finish`")

    def is_for(self, step: str) -> bool:
        """Returns whether a step mounts it."""
        return step != "finish" if self.steps is None else step in self.steps


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
        volumes: Claims that steps mount.
        platform: Whose labels nodes have: `gke`, or `generic` for EKS, AKS or a machine room.
        labels: Labels of all pods.
        annotations: Annotations of all pods.
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
    platform: Literal["gke", "generic"] = "gke"
    labels: dict[str, PossiblyEmpty] = Field(default_factory=dict)
    annotations: dict[str, PossiblyEmpty] = Field(default_factory=dict)
    runner: Engine = Direct()
    steps: dict[StepName, KubernetesStep] = Field(default_factory=dict, description="the pod of each step, by its name")

    def step(self, name: str) -> KubernetesStep:
        """Returns the pod of a step."""
        return self.steps.get(name, KubernetesStep())

    @model_validator(mode="after")
    def _exists(self) -> "KubeflowTarget":
        problems = _misplaced(self.steps) or absent_images(self.image, self.steps)
        if self.platform == "generic":
            problems += _unlabelled(self.steps)
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
    steps: dict[StepName, VertexStep] = Field(
        default_factory=dict, description="the machines of each step, by its name"
    )

    def step(self, name: str) -> VertexStep:
        """Returns the machines of a step."""
        return self.steps.get(name, VertexStep())

    @model_validator(mode="after")
    def _exists(self) -> "VertexTarget":
        problems = _misplaced(self.steps) or absent_images(self.image, self.steps)
        for name, step in self.steps.items():
            if name == "train" or problems or step.machines == 1:
                continue
            key = "workers" if step.workers > 1 else "accelerator.count"
            given = step.workers if step.workers > 1 or step.offer is None else step.offer.chips
            sentence = f"{given} is not allowed: they are in {step.machines} machines, and {name} runs on one"
            problems.append(Problem(("steps", name, *key.split(".")), sentence))
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
        steps: What each step gets, by its name.
    """

    threads: Annotated[int, Field(ge=1)] | None = None
    memory: Amount | None = None
    tracking_uri: TrackingURI | None = None
    image: Image | None = None
    steps: dict[StepName, LocalStep] = Field(default_factory=dict)

    def step(self, name: str) -> LocalStep:
        """Returns what a step gets."""
        return self.steps.get(name, LocalStep())


class Targets(Settings):
    """Where the experiment may run, and on what."""

    local: LocalTarget = LocalTarget()
    kubeflow: KubeflowTarget | None = None
    vertex: VertexTarget | None = None

    def unfit_for(self, backend: str) -> list[Problem]:
        """Returns the accelerators on which a model of that backend cannot be evaluated: TPUs know JAX only."""
        problems = []
        for name, target in (("kubeflow", self.kubeflow), ("vertex", self.vertex)):
            if target is None or backend == "jax":
                continue
            train, evaluate = target.step("train").accelerator, target.step("evaluate").accelerator
            if evaluate is None:
                continue
            if evaluate.of_kind.chip == "tpu" and (train is None or train.of_kind.chip != "tpu"):
                sentence = (
                    f"on {evaluate.kind}, a TPU, only JAX runs, and the model is trained with {backend}; train it on a "
                    "TPU too, or with `training.backend: jax`"
                )
                problems.append(Problem((name, "steps", "evaluate", "accelerator"), sentence))
        return problems


def _unlabelled(steps: Mapping[str, KubernetesStep]) -> list[Problem]:
    """Returns the accelerators of kinds that only GKE's nodes are labelled with."""
    sentence = (
        "only nodes of GKE are labelled with this kind, and targets.kubeflow.platform is generic; write {kind: nvidia, "
        "count: 1, node_selector: {LABEL: VALUE}}, with a label that your nodes have (kubectl get nodes --show-labels)"
    )
    return [
        Problem(("steps", name, "accelerator", "kind"), sentence)
        for name, step in steps.items()
        if step.accelerator is not None and step.accelerator.of_kind.gke is not None
    ]


def _misplaced(steps: Mapping[str, Step]) -> list[Problem]:
    """Returns the accelerators of steps that compute on processors."""
    sentence = f"this step computes on processors; steps that can use one: {', '.join(ACCELERATED)}"
    return [
        Problem(("steps", name, "accelerator"), sentence)
        for name, step in steps.items()
        if step.accelerator is not None and name not in ACCELERATED
    ]
