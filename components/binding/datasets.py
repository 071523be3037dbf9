"""Dataset folders as a model sees them: the features that it reads, and splits as examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.binding.meanings import difference
from components.binding.weighting import Weighting, weighting
from elboflow.artifacts.spec import LENGTH, FeatureSpec
from elboflow.settings import RequestError, WorkError, table
from elboflow.settings.explain import ConflictsError, dotted
from elboflow.vae.config import TrainingConfig
from elboflow.vae.data import Examples
from elboflow.vae.evaluation.evaluators import TestData
from elboflow.vae.model import ModelConfig
from preprocessing.features import Feature
from preprocessing.manifest import Manifest
from preprocessing.reader import Arrays, Dataset, open_dataset


@dataclass(frozen=True)
class ModelDataset:
    """A dataset folder, and what a model reads of it.

    Attributes:
        dataset: The folder.
        specs: Of the features that the model reads, by name.
    """

    dataset: Dataset
    specs: Mapping[str, FeatureSpec]

    @property
    def manifest(self) -> Manifest:
        """What the dataset says of itself."""
        return self.dataset.manifest

    @property
    def label(self) -> str | None:
        """The feature by which figures tell examples apart: the first classes by name; None where there are none."""
        return next((name for name, spec in sorted(self.manifest.features.items()) if spec.role == "class"), None)

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes of the label, by their numbers, if it has names."""
        return None if self.label is None else self.manifest.features[self.label].facts.get("names")

    def described(self, remarks: Sequence[str] = ()) -> TestData:
        """Returns what an evaluation says of it.

        Args:
            remarks: What a reader should know of the data, in sentences.
        """
        there = self.manifest
        return TestData(there.digest, there.counts, there.distinct, self.label, self.classes, remarks)

    def source(self, split: str, training: TrainingConfig | None = None) -> "Shards":
        """Returns a split, shard by shard.

        Args:
            split: Its name.
            training: What each example counts in the train split, where it is read to train.

        Raises:
            RequestError: There is no such split, or the dataset has not what `training` weighs examples by.
        """
        self.dataset.shards(split)
        weighs = training is not None and split == "train"
        return Shards(self, split, weighting(self.manifest, training) if training and weighs else None)

    def head(self, split: str, count: int) -> Examples:
        """Reads up to so many examples of a split.

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
        """Returns what a model is shown of a dataset's arrays, and the label."""
        wanted = [*self.specs, *([self.label] if self.label is not None else [])]
        features = {name: arrays[name] for name in wanted}
        lengths = {name + LENGTH: arrays[name + LENGTH] for name in self.specs if self.specs[name].ragged}
        return Examples(features | lengths, arrays["key"], weights.of(arrays) if weights else None)


@dataclass(frozen=True)
class Shards:
    """A split that is read shard by shard, an `elboflow.vae.data.Source`.

    Attributes:
        of: The dataset.
        split: The split.
        weighting: What each example counts in the loss; None: all the same.
    """

    of: ModelDataset
    split: str
    weighting: Weighting | None

    @property
    def counts(self) -> Sequence[int]:
        """Examples of each shard."""
        return [shard.examples for shard in self.of.dataset.shards(self.split)]

    def read(self, shard: int) -> Examples:
        """Reads a shard and checks that it is what was written.

        Raises:
            WorkError: It is missing or damaged.
        """
        return self.of.examples_of(self.of.dataset.read_shard(self.split, shard), self.weighting)


def open_for(model: ModelConfig, dataset: Path | str) -> ModelDataset:
    """Opens a dataset folder for a model.

    Args:
        model: The model's settings.
        dataset: The folder.

    Raises:
        RequestError: The dataset has not the features that the model reads, or they are not of a kind that it takes, or
            an older version has not kept what a model must know of one.
        WorkError: The folder holds no finished dataset.
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
    """Checks that a dataset's values mean what those mean that a model was trained on.

    Args:
        trained: The specs of the model's features.
        model: The model folder, for the error.
        found: The dataset.

    Raises:
        WorkError: A feature has another shape, other levels, or codes of another meaning, such as another vocabulary.
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
