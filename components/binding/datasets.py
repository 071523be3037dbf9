"""Dataset folders as the input of a model: specs of the features, and splits as examples."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from components.binding.meanings import difference
from components.binding.weighting import Weighting, weighting
from elboflow.artifacts.spec import LENGTH, FeatureSpec
from elboflow.settings import RequestError, WorkError, table
from elboflow.settings.explain import ConflictsError, dotted
from elboflow.vae.config import TrainingConfig
from elboflow.vae.data import Examples
from elboflow.vae.evaluation.evaluators import DatasetDescription
from elboflow.vae.model import ModelConfig
from preprocessing.features import Feature
from preprocessing.manifest import Manifest
from preprocessing.reader import Arrays, Dataset, open_dataset


@dataclass(frozen=True)
class ModelDataset:
    """A dataset folder as the input of a model.

    Attributes:
        dataset: The dataset.
        specs: The specs of the features that the model reads, by name.
    """

    dataset: Dataset
    specs: Mapping[str, FeatureSpec]

    @property
    def manifest(self) -> Manifest:
        """The manifest of the dataset."""
        return self.dataset.manifest

    @property
    def origins(self) -> dict[str, str]:
        """The installed packages of the features' kinds: distribution and version by `GROUP:KIND`."""
        found = {}
        for spec in self.specs.values():
            with suppress(LookupError):  # not installed: an error only if values must be converted
                if (package := table.installed_by(table.find(Feature, spec.kind))) is not None:
                    found[f"{Feature.group}:{spec.kind}"] = package
        return found

    @property
    def label(self) -> str | None:
        """The feature that colours examples in figures: the first with the role `class` by name, or None."""
        return next((name for name, spec in sorted(self.manifest.features.items()) if spec.role == "class"), None)

    @property
    def classes(self) -> list[str] | None:
        """The names of the label's classes, by class; None if there is no label, or its classes are numbers."""
        return None if self.label is None else self.manifest.features[self.label].facts.get("names")

    def described(self, remarks: Sequence[str] = ()) -> DatasetDescription:
        """Returns the description of the dataset for an evaluation.

        Args:
            remarks: Remarks about the data for readers of the report, in sentences.
        """
        there = self.manifest
        return DatasetDescription(there.digest, there.counts, there.distinct, self.label, self.classes, remarks)

    def source(self, split: str, training: TrainingConfig | None = None) -> "Shards":
        """Returns a split as a source of shards.

        Args:
            split: The name of the split.
            training: The settings of a training, which weigh the examples of the train split; None for no weights.

        Raises:
            RequestError: There is no such split, or the dataset lacks a feature that `training` weighs examples by.
        """
        self.dataset.shards(split)
        weighs = training is not None and split == "train"
        return Shards(self, split, weighting(self.manifest, training) if training and weighs else None)

    def head(self, split: str, count: int) -> Examples:
        """Reads the first `count` examples of a split, or all if there are fewer.

        Raises:
            RequestError: There is no such split.
            WorkError: A shard is missing or damaged.
        """
        source, read = self.source(split), list[Examples]()
        for shard in range(len(source.counts)):
            read.append(source.read(shard))
            if sum(map(len, read)) >= count:
                break
        return Examples.joined(read).head(count)

    def examples_of(self, arrays: Arrays, weights: Weighting | None) -> Examples:
        """Returns arrays of the dataset as examples: the features that the model reads, and the label."""
        wanted = [*self.specs, *([self.label] if self.label is not None else [])]
        features = {name: arrays[name] for name in wanted}
        lengths = {name + LENGTH: arrays[name + LENGTH] for name in self.specs if self.specs[name].ragged}
        return Examples(features | lengths, arrays["key"], weights.of(arrays) if weights else None)


@dataclass(frozen=True)
class Shards:
    """A split that is read shard by shard, an `elboflow.vae.data.Source`.

    Attributes:
        of: The dataset.
        split: The name of the split.
        weighting: The weights of examples in the loss; None for equal weights.
    """

    of: ModelDataset
    split: str
    weighting: Weighting | None

    @property
    def counts(self) -> Sequence[int]:
        """The number of examples of each shard."""
        return [shard.examples for shard in self.of.dataset.shards(self.split)]

    def read(self, shard: int) -> Examples:
        """Reads a shard, and checks it against the manifest.

        Raises:
            WorkError: The shard is missing or damaged.
        """
        return self.of.examples_of(self.of.dataset.read_shard(self.split, shard), self.weighting)


def open_for(model: ModelConfig, dataset: Path | str) -> ModelDataset:
    """Opens a dataset folder for a model.

    Args:
        model: The settings of the model.
        dataset: The dataset folder.

    Raises:
        RequestError: The dataset lacks a feature that the model reads, a feature does not fit the model, or an older
            version did not store what the model needs to know of one.
        WorkError: The folder contains no finished dataset.
    """
    opened = open_dataset(dataset)
    there = opened.manifest.features
    for name in model.reads:
        if name not in there:
            key = "model.input" if name in model.features else "model.condition"
            raise RequestError(
                f"{key} is {name!r}, which is no feature of the dataset {dataset}; it has {', '.join(map(repr, there))}"
            )
    specs = {name: there[name] for name in model.reads}
    for name, spec in specs.items():
        if lacks := _lacking(name, spec):
            raise RequestError(f"the dataset {dataset} was written by {lacks}: remove its folder, and write it again")
    try:
        model.check(specs)
    except ConflictsError as error:
        lines = [f"{dotted(('model', *problem.path))}: {problem.sentence}" for problem in error.problems]
        raise RequestError("\n".join(lines)) from None
    return ModelDataset(opened, specs)


def check_fits(trained: Mapping[str, FeatureSpec], model: Path | str, found: ModelDataset) -> None:
    """Checks that a dataset's features are compatible with those that a model was trained on.

    Args:
        trained: The specs of the model's features.
        model: The model folder, for the error.
        found: The dataset.

    Raises:
        WorkError: A feature has another shape, other levels, or stored values that mean something else, such as tokens.
    """
    for name, spec in trained.items():
        if differs := difference(spec, found.specs[name]):
            raise WorkError(
                f"the model {model} does not fit the dataset {found.dataset.folder}: it was trained on {name!r} of "
                f"{differs.one}; the dataset's is of {differs.other}"
            )


def _lacking(name: str, spec: FeatureSpec) -> str | None:
    try:
        kind: type[Feature] = table.find(Feature, spec.kind)
    except LookupError:
        return None
    return kind.lacking(name, spec)
