"""The section `targets` of an experiment: where the pipeline may run besides this machine, and on what.

It holds no secrets, only the names of environment variables, Kubernetes secrets and Secret Manager versions.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from preprocessing.runners import DirectRunner, Runner
from settings import Settings, by_name
from settings.explain import written

Image = Annotated[
    str,
    written(r"\S+", "be an image's address, without spaces"),
    Field(description="a container image that holds the installed project"),
]
HTTPAddress = Annotated[str, written(r"https?://\S+", "begin with http:// or https:// and have no spaces")]
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


class Images(Settings):
    """One image for each kind of machine; those of `infra/images/`."""

    cpu: Image
    cuda: Image | None = None
    tpu: Image | None = None


class Accelerator(Settings):
    """Chips to train on, as `pipelines/targets/accelerators.yaml` lists them."""

    kind: str
    count: Annotated[int, Field(ge=1)] | None = Field(
        None, description="GPUs or TPU chips, over all hosts; by default the fewest that exist"
    )


AcceleratorChoice = Annotated[Accelerator, BeforeValidator(by_name)]


class Retry(Settings):
    """What happens when a step fails for a reason that may pass, as when its machine is taken away."""

    attempts: Annotated[int, Field(ge=0, le=10)] = Field(2, description="tries after the first")
    wait_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    factor: Annotated[float, Field(ge=1, le=10)] = Field(2.0, description="by which each wait is longer than the last")


class Step(Settings):
    """What a step gets on every platform."""

    accelerator: AcceleratorChoice | None = None
    retry: Retry = Retry()
    timeout_minutes: Annotated[int, Field(ge=1, le=7 * 24 * 60)] | None = None


class Toleration(Settings):
    """A taint of nodes that a step may run on nevertheless."""

    key: str
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class KubernetesStep(Step):
    """The pod of a step."""

    cpu: Annotated[float, Field(gt=0)] | None = Field(None, description="cores requested")
    memory: Annotated[str, written(r"\d+(\.\d+)?(Mi|Gi|Ti|M|G|T)", "be an amount such as 16Gi")] | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()


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
    credentials: Annotated[
        NoCredentials | Token | Cookie | IdentityAwareProxy | InCluster,
        Field(discriminator="kind"),
        BeforeValidator(by_name),
    ] = NoCredentials()
    service_account: str | None = None
    pull_secrets: tuple[str, ...] = ()
    secrets: dict[Variable, KubernetesSecret] = Field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    runner: Runner = DirectRunner()
    preprocess: KubernetesStep = KubernetesStep()
    train: KubernetesStep = KubernetesStep()
    evaluate: KubernetesStep = KubernetesStep()
    registration: KubernetesStep = KubernetesStep()


class ReductionServer(Settings):
    """Machines that add up the gradients of GPU workers."""

    replicas: Annotated[int, Field(ge=1)] = 1
    machine: str = "n1-highcpu-16"


class VertexStep(Step):
    """The machine of a step on Vertex AI."""

    machine: str | None = Field(None, description="a machine type; with an accelerator, by default the one it is on")
    disk_gigabytes: Annotated[int, Field(ge=100)] = 100
    provisioning: Literal["standard", "spot", "flex_start"] = "standard"
    max_wait_minutes: Annotated[int, Field(ge=0)] = Field(24 * 60, description="for machines, with flex_start")
    workers: Annotated[int, Field(ge=1)] = Field(1, description="machines of GPUs; a TPU slice says itself how many")
    reduction_server: ReductionServer | None = None


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

    project: str
    location: str
    root: Root
    image: Image | Images
    tracking_uri: TrackingURI
    credentials: Annotated[
        DefaultCredentials | Impersonation, Field(discriminator="kind"), BeforeValidator(by_name)
    ] = DefaultCredentials()
    service_account: str | None = None
    network: str | None = None
    encryption_key: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    secrets: dict[Variable, SecretVersion] = Field(default_factory=dict)
    repository: HTTPAddress | None = None
    endpoint: str | None = None
    runner: Runner = DirectRunner()
    preprocess: VertexStep = VertexStep()
    train: VertexStep = VertexStep()
    evaluate: VertexStep = VertexStep()
    registration: VertexStep = VertexStep()


class LocalTarget(Settings):
    """This machine.

    Attributes:
        threads: Threads of each step; by default as many as there are cores.
    """

    threads: Annotated[int, Field(ge=1)] | None = None


class Targets(Settings):
    """Where the experiment may run, and on what."""

    local: LocalTarget = LocalTarget()
    kubeflow: KubeflowTarget | None = None
    vertex: VertexTarget | None = None
