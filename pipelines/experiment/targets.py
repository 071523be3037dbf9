"""The section `targets` of an experiment: where the pipeline may run besides this machine, and on what.

It holds no secrets, only the names of environment variables, Kubernetes secrets and Secret Manager versions.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from elboflow.settings import PossiblyEmpty, Settings, by_name
from elboflow.settings.explain import ConflictsError, Problem, nearest, written
from elboflow.settings.zones import Timezone
from pipelines.experiment.images import Image, Images, absent_images
from pipelines.experiment.machines import (
    Amount,
    KubernetesStep,
    LocalStep,
    Step,
    VertexStep,
)
from pipelines.experiment.regions import Region
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


StepName = Annotated[str, AfterValidator(_is_step), Field(json_schema_extra={"enum": list(STEPS)})]


class KubernetesSecret(Settings):
    """A key of a Kubernetes secret."""

    name: str = Field(description="the name of the secret")
    key: str = Field(description="the key in the secret")


class Volume(Settings):
    """A persistent volume claim that steps mount."""

    main: ClassVar = "claim"
    claim: str = Field(description="the name of the claim")
    mount: Annotated[str, written(r"/\S*", "be an absolute path")] = Field(description="the path at which steps see it")
    steps: tuple[StepName, ...] | None = Field(None, description="the steps that mount it; null: all but `finish`")

    def is_for(self, step: str) -> bool:
        """Returns whether a step mounts it."""
        return step != "finish" if self.steps is None else step in self.steps


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
    volumes: tuple[Volume, ...] = Field((), description="persistent volume claims that steps mount")
    platform: Literal["gke", "generic"] = Field(
        "gke", description="whose labels nodes have: gke; generic: EKS, AKS or a machine room"
    )
    labels: dict[str, PossiblyEmpty] = Field(default_factory=dict, description="labels of all pods")
    annotations: dict[str, PossiblyEmpty] = Field(default_factory=dict, description="annotations of all pods")
    runner: Engine = Field(Direct(), description="where the Beam graph of the preprocessing runs")
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

    main: ClassVar = "service_account"
    kind: Literal["impersonation"] = "impersonation"
    service_account: str = Field(description="the e-mail address of the service account")


class VertexTarget(Settings):
    """Vertex AI Pipelines."""

    project: Project = Field(description="the id of the Google Cloud project")
    location: Region = Field(description="the region, such as europe-west4")
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
    steps: dict[StepName, LocalStep] = Field(
        default_factory=dict, description="the process of each step, by the step's name"
    )

    def step(self, name: str) -> LocalStep:
        """Returns what a step gets."""
        return self.steps.get(name, LocalStep())


class Targets(Settings):
    """Where the experiment may run, and on what."""

    local: LocalTarget = Field(LocalTarget(), description="runs on this machine")
    kubeflow: KubeflowTarget | None = Field(None, description="runs on Kubeflow Pipelines; null: not configured")
    vertex: VertexTarget | None = Field(None, description="runs on Vertex AI Pipelines; null: not configured")

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
