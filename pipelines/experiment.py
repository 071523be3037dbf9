"""An experiment: the whole YAML, composed of each room's own section, and checked before anything runs."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from components.config import RegistryConfig
from pipelines import source
from pipelines.overrides import override
from preprocessing.config import DataConfig
from settings import RequestError, Settings
from settings.explain import ConflictsError, Path, Problem, explain
from vae.config import Bernoulli, EvaluationConfig, ModelConfig, TrainingConfig

Name = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,48}[a-z0-9])?$")]
Image = Annotated[str, Field(pattern=r"^\S+$", description="the container image that holds the installed project")]
TrackingURI = Annotated[str, Field(pattern=r"^https?://\S+$", description="the address of the MLflow server")]

SPLITS = {"train": "training", "validation": "early stopping", "test": "evaluation"}


class KubeflowTarget(Settings):
    """What a pipeline needs to know to run on Kubeflow Pipelines."""

    image: Image
    tracking_uri: TrackingURI


class VertexTarget(Settings):
    """What a pipeline needs to know to run on Vertex AI Pipelines."""

    image: Image
    tracking_uri: TrackingURI
    root: Annotated[
        str, Field(pattern=r"^gs://[^/\s]+(/[^/\s]+)*$", description="where artifacts go: gs://BUCKET/FOLDER")
    ]


class Targets(Settings):
    """Where the experiment may run besides this machine, and on what."""

    kubeflow: KubeflowTarget | None = None
    vertex: VertexTarget | None = None


class Experiment(Settings):
    """Everything that a run depends on.

    Attributes:
        name: Names the pipeline, its runs and by default the registered model: lower case, digits and hyphens.
        seed: The root of all randomness.
        data: Where examples come from (`preprocessing/config.py`).
        model: What the model is (`vae/config.py`).
        training: How it is trained, and on which framework.
        evaluation: How it is judged on the test split.
        registry: Under which name it is registered, and when it becomes the champion (`components/config.py`).
        targets: Where the pipeline may run besides this machine.
    """

    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: DataConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    registry: RegistryConfig
    targets: Targets = Targets()

    @model_validator(mode="before")
    @classmethod
    def _registered_under_its_own_name(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("name"), str):
            return values
        registry = values.get("registry") or {}
        return (
            {**values, "registry": {"model": f"{values['name']}-vae", **registry}}
            if isinstance(registry, dict)
            else values
        )

    @field_validator("data")
    @classmethod
    def _has_the_splits(cls, data: DataConfig) -> DataConfig:
        absent = [f"`{split}` (for {purpose})" for split, purpose in SPLITS.items() if split not in data.splits]
        if absent:
            given = ", ".join(data.splits)
            raise ConflictsError([Problem(("splits",), f"needs {' and '.join(absent)} besides what it has: {given}")])
        return data

    @model_validator(mode="after")
    def _sections_agree(self) -> "Experiment":
        image = self.data.images.get(self.model.input)
        if image is None:
            images = ", ".join(self.data.images)
            kind = "a category" if self.model.input in self.data.features else "no feature of the data"
            sentence = f"'{self.model.input}' is {kind}; the model models an image: {images}"
            raise ConflictsError([Problem(("model", "input"), sentence)])
        likelihood = self.model.likelihood
        if isinstance(likelihood, Bernoulli) and likelihood.binarize == "none" and image.levels > 2:
            sentence = (
                f"'none' says that the data are 0 and 1 already, but data.features.{self.model.input} has "
                f"{image.levels} levels; allowed for it: dynamic, threshold, or another likelihood"
            )
            raise ConflictsError([Problem(("model", "likelihood", "binarize"), sentence)])
        return self


def load(experiment: str, assignments: Sequence[str] = ()) -> Experiment:
    """Reads and checks an experiment.

    Args:
        experiment: The path of a YAML file, or the name of a ready-made experiment.
        assignments: Values to set, as KEY=VALUE.

    Raises:
        RequestError: Something is wrong with it. The message lists everything that is, one line each.
    """
    written = source.find(experiment)
    values = written.values
    given: dict[Path, str] = {}
    for assignment in assignments:
        values, path = override(values, assignment, Experiment)
        given[path] = assignment
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        problems = explain(error, Experiment)
    lines = [f"{_place(problem.path, written, given)}: {problem}" for problem in problems]
    if written.name in source.ready_made() and any(line.startswith(written.name) for line in lines):
        lines += [f"  {line}" for line in written.introduction]
    raise RequestError("\n".join(lines))


def _place(path: Path, written: source.Source, given: dict[Path, str]) -> str:
    """Returns what a person wrote about a key: an assignment at, above or below it, or else a line of the file."""
    for assigned, assignment in given.items():
        if path and (path[: len(assigned)] == assigned or assigned[: len(path)] == path):
            return f"--set {assignment}"
    return written.place(path)
