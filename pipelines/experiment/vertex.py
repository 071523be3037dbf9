"""The section `targets.vertex` of an experiment. It holds no secrets, only names of variables and of secrets."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from elboflow.settings import PossiblyEmpty, Settings, by_name
from elboflow.settings.explain import ConflictsError, Problem, written
from pipelines.experiment.machines import VertexStep
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
from preprocessing.engines._regions import region_of
from preprocessing.engines.dataflow import Project
from preprocessing.engines.direct import Direct

Region = Annotated[str, region_of("Vertex AI")]
Root = Annotated[
    str,
    written(r"gs://[^/\s]+(/[^/\s]+)*", "be gs://BUCKET or gs://BUCKET/FOLDER, without a slash at the end"),
    Field(description="where artifacts go: gs://BUCKET/FOLDER"),
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
        problems = misplaced(self.steps) or absent_images(self.image, self.steps)
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
