"""An experiment: the whole YAML, composed of each room's own section, and checked before anything runs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from components.config import Notification, RegistryConfig
from elboflow.settings import RequestError, Settings
from elboflow.settings.explain import ConflictsError, Path, Problem, explain
from elboflow.settings.explain import written as written
from elboflow.settings.schema import json_schema
from elboflow.settings.zones import Timezone as Timezone
from elboflow.vae.compute import parallelism
from elboflow.vae.config import TrainingConfig
from elboflow.vae.evaluation.config import EvaluationConfig
from elboflow.vae.families.flat import Flat
from elboflow.vae.model import ModelConfig
from pipelines.experiment import environments
from pipelines.experiment import text as source
from pipelines.experiment.kubeflow import KubeflowTarget
from pipelines.experiment.machines import Amount, LocalStep
from pipelines.experiment.overrides import option, override
from pipelines.experiment.schedule import Name, Schedule
from pipelines.experiment.schedule import Trigger as Trigger
from pipelines.experiment.steps import Image, StepName, TrackingURI
from pipelines.experiment.tags import Tags, unfit_tags
from pipelines.experiment.text import respelled_values
from pipelines.experiment.vertex import VertexTarget
from pipelines.timing import cron as cron
from pipelines.timing.trigger import EVERY as EVERY
from preprocessing import dates
from preprocessing.config import DataConfig

NOT_RECORDED = ("date", "targets", "schedule", "notify")
"""What says where and when a pipeline runs. Results depend on the data of the date, whose digest is recorded."""
SPLITS = {"train": "training", "validation": "early stopping", "test": "evaluation"}


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


class Experiment(Settings):
    """Everything that a run depends on."""

    name: Name = Field(description="the name of the pipeline, with which the names of its runs begin")
    date: str | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="the date that `{date}` in data.source stands for, such as '2026-11-29'; null: that of the "
        "schedule's tick, or today",
    )
    tags: Tags = Field(
        {},
        exclude_if=lambda given: not given,
        description="tags of the experiment's runs in MLflow, such as {team: faces, month: '{date:%Y-%m}'}, in which "
        "`{date}` stands for the date of the data",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="the root of all randomness")
    data: DataConfig = Field(description="where examples come from, and what is in them")
    model: ModelConfig = Field(Flat(), description="the probabilistic model and its networks")
    training: TrainingConfig = Field(TrainingConfig(), description="how the model is trained, and on which backend")
    evaluation: EvaluationConfig = Field(EvaluationConfig(), description="how the test split is evaluated")
    registry: RegistryConfig = Field(
        RegistryConfig(),
        validate_default=True,
        description="under which name the model is registered, and when it becomes the champion",
    )
    targets: Targets = Field(Targets(), description="where the pipeline may run, and on what")
    schedule: Schedule | None = Field(None, description="when the pipeline runs by itself; null: only when it is told")
    notify: Notification | None = Field(None, description="who is told how a run ended; null: nobody")

    def dated(self, now: datetime | None = None) -> "Experiment":
        """Returns the experiment of a date: where its source has `{date}` and no date is given, that of now.

        Raises:
            RequestError: A date is given for a source without `{date}`.
        """
        if not self.data.source.is_dated:
            if self.date is not None:
                raise RequestError(f"--date {self.date}: data.source has no {{date}}, and reads the same on every date")
            return self
        zone = ZoneInfo(self.schedule.timezone if self.schedule else "UTC")
        moment = dates.read(self.date) if self.date else (now or datetime.now(zone)).astimezone(zone)
        return self.model_copy(update={"date": self.data.source.date_of(moment)})

    @property
    def data_of_date(self) -> DataConfig:
        """The section `data`, with the date in the locations of its source."""
        date = self.dated().date
        return self.data if date is None else self.data.at(dates.read(date))

    def recorded(self) -> dict[str, Any]:
        """Returns the settings that results depend on, as JSON values: all but date, targets, schedule and notify.

        The tags of its runs, on which no result depends, are among them where there are any.
        """
        return self.model_dump(mode="json", exclude=set(NOT_RECORDED))

    @property
    def outcome_space(self) -> str:
        """The outcomes to which the model assigns probabilities. Bounds are comparable only over the same outcomes."""
        specs = {name: self.data.features[name].planned for name in self.model.reads}
        modelled = ", ".join(f"'{name}'" for name in self.model.features)
        return f"the {self.model.outcome_space(specs)} of {modelled}"

    @field_validator("date")
    @classmethod
    def _is_a_date(cls, date: str | None) -> str | None:
        return date if date is None else dates.written(dates.read(date))

    @field_validator("registry")
    @classmethod
    def _registered_under_its_own_name(cls, registry: RegistryConfig, others: ValidationInfo) -> RegistryConfig:
        if registry.model is not None or "name" not in others.data:
            return registry
        return registry.model_copy(update={"model": f"{others.data['name']}-vae"})

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
        for name in self.model.reads:
            if name not in self.data.features:
                key = "input" if name in self.model.features else "condition"
                sentence = f"'{name}' is no feature of the data; data.features has {', '.join(self.data.features)}"
                raise ConflictsError([Problem(("model", key), sentence)])
        try:
            self.model.check({name: self.data.features[name].planned for name in self.model.reads})
        except ConflictsError as error:
            raise ConflictsError([Problem(("model", *p.path), p.sentence) for p in error.problems]) from None
        self._examples_can_be_weighed()
        if problems := [Problem(("tags", *found), why) for *found, why in unfit_tags(self.tags, self.data.source)]:
            raise ConflictsError(problems)
        for number, guard in enumerate(self.registry.guard):
            if _role(guard.feature, self.data) != "class":
                raise _absent(("registry", "guard", number, "feature"), guard.feature, "category", self.data)
        if reason := self.evaluation.unfit({name: self.data.features[name].planned for name in self.model.features}):
            raise ConflictsError([Problem(("evaluation", "evaluators"), reason)])
        if reason := parallelism.impossible(self.training):
            raise ConflictsError([Problem(("training", "parallel"), reason)])
        if unfit := self.targets.unfit_for(self.training.backend):
            raise ConflictsError([Problem(("targets", *problem.path), problem.sentence) for problem in unfit])
        return self

    def _examples_can_be_weighed(self) -> None:
        training, data = self.training, self.data
        if training.weights is not None and _role(training.weights, data) != "amount":
            raise _absent(("training", "weights"), training.weights, "number", data)
        if training.balance is not None and _role(training.balance.feature, data) != "class":
            raise _absent(("training", "balance", "feature"), training.balance.feature, "category", data)


def _role(name: str, data: DataConfig) -> str | None:
    feature = data.features.get(name)
    return None if feature is None else feature.planned.role


def _absent(key: Path, name: str, kind: str, data: DataConfig) -> ConflictsError:
    found = ", ".join(f"{name}: {feature.kind}" for name, feature in data.features.items())
    sentence = f"'{name}' is no feature of kind {kind}; data.features has {found}"
    return ConflictsError([Problem(key, sentence)])


def schema() -> dict[str, Any]:
    """Returns the JSON schema of an experiment's YAML, short forms included."""
    return json_schema(Experiment, "An experiment of ELBOflow")


def load(experiment: str, assignments: Sequence[str] = (), env: str | None = None) -> Experiment:
    """Reads and checks an experiment.

    Args:
        assignments: Values to set, as KEY=VALUE; they win over the environment's.
        env: The environment whose overlay is merged over the experiment (`pipelines/experiment/environments.py`).

    Raises:
        RequestError: Something is wrong with it. The message lists everything that is, one line each.
    """
    written = source.find(experiment)
    if env is not None:
        written = environments.merge(written, environments.find(experiment, env), Experiment)
    values = written.values
    given: dict[Path, str] = {}
    for assignment in assignments:
        values, path = override(values, assignment, Experiment)
        given[path] = assignment
    try:
        return Experiment.model_validate(respelled_values(values))
    except ValidationError as error:
        problems = explain(error, Experiment)
    lines = [f"{_place(problem.path, written, given)}: {problem}" for problem in problems]
    if written.name in source.ready_made() and any(line.startswith(f"{written.name}:") for line in lines):
        lines += [f"  {line}" for line in written.introduction]
    raise RequestError("\n".join(lines))


def _place(path: Path, written: source.ExperimentText, given: dict[Path, str]) -> str:
    """Returns the place of a key for messages: an assignment at, above or below it, else a line of the file."""
    for assigned, assignment in reversed(given.items()):  # the last one wins, and so is the one to blame
        if path and (path[: len(assigned)] == assigned or assigned[: len(path)] == path):
            is_address = path[:1] == ("notify",) and "://" in assignment  # a webhook's, which often is a secret
            return option(f"{assignment.partition('=')[0]}=…" if is_address else assignment)
    return written.place(path)
