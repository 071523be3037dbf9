"""The section `targets.kubeflow` of an experiment. It holds no secrets, only names of variables and of secrets."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from elboflow.settings import PossiblyEmpty, Settings, by_name
from elboflow.settings.explain import ConflictsError, Problem, written
from elboflow.settings.zones import Timezone
from pipelines.experiment.machines import KubernetesStep
from pipelines.experiment.steps import (
    HTTPAddress,
    Image,
    Images,
    StepName,
    TrackingURI,
    Variable,
    absent_images,
    misplaced,
)
from preprocessing.engines import Engine
from preprocessing.engines.direct import Direct


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
        problems = misplaced(self.steps) or absent_images(self.image, self.steps)
        problems += self._several_machines()
        if self.platform == "generic":
            problems += _unlabelled(self.steps)
        for key in {"dataflow": ("project", "region", "temporary"), "flink": ("temporary",)}.get(self.runner.kind, ()):
            if getattr(self.runner, key) is None:
                problems.append(Problem(("runner", key), "missing; nothing else of a cluster says it"))
        if problems:
            raise ConflictsError(problems)
        return self

    def _several_machines(self) -> list[Problem]:
        several = [name for name, step in self.steps.items() if step.workers > 1]
        problems = [
            Problem(("steps", name, "workers"), "is for `train`; this step is one pod")
            for name in several
            if name != "train"
        ]
        if "train" in several and not any(volume.is_for("train") for volume in self.volumes):
            sentence = (
                "missing; the pods of a training on several machines read the dataset from a volume, and write the "
                "model to it: {claim: NAME, mount: /volume, steps: [train]}, whose claim is ReadWriteMany"
            )
            problems.append(Problem(("volumes",), sentence))
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
