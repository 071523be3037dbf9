"""Dataset folders as the models see them: an image feature becomes a spec, a split becomes examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.binding.weighting import Weighting, weighting
from elboflow.settings import RequestError, WorkError
from elboflow.vae.config import TrainingConfig
from elboflow.vae.data import Examples, ImageSpec
from preprocessing.manifest import Category, Image, Manifest
from preprocessing.reader import Arrays, Dataset, open_dataset


@dataclass(frozen=True)
class ImageDataset:
    """One image feature of a dataset folder.

    Attributes:
        dataset: The folder.
        input: The feature's name.
        image: The feature as stored.
    """

    dataset: Dataset
    input: str
    image: Image

    @property
    def manifest(self) -> Manifest:
        """What the dataset says of itself."""
        return self.dataset.manifest

    @property
    def spec(self) -> ImageSpec:
        """The images that a model of this dataset models."""
        return ImageSpec(self.image.shape, self.image.levels)

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes of the category that labels the examples, by their numbers, if it has names."""
        return next((f.names for _, f in sorted(self.manifest.features.items()) if isinstance(f, Category)), None)

    def examples(self, split: str) -> Examples:
        """Reads a split and checks it against its checksums. Labels are those of the first category by name, if any.

        Raises:
            RequestError: There is no such split.
            WorkError: A shard is missing or damaged.
        """
        return self.examples_of(self.dataset.read(split), None)

    def source(self, split: str, training: TrainingConfig) -> "Shards":
        """Returns a split as training reads it, shard by shard; in the train split each example has its weight.

        Raises:
            RequestError: There is no such split, or the dataset has not what `training` weighs examples by.
        """
        self.dataset.shards(split)
        return Shards(self, split, weighting(self.manifest, training) if split == "train" else None)

    def examples_of(self, arrays: Arrays, weights: Weighting | None) -> Examples:
        """Returns what a model is shown of a dataset's arrays."""
        labels = next((arrays[n] for n, f in sorted(self.manifest.features.items()) if isinstance(f, Category)), None)
        return Examples(arrays[self.input], arrays["key"], labels, weights.of(arrays) if weights else None)


@dataclass(frozen=True)
class Shards:
    """A split that is read shard by shard, an `elboflow.vae.data.Source`.

    Attributes:
        images: The dataset.
        split: The split.
        weighting: What each example counts in the loss; None: all the same.
    """

    images: ImageDataset
    split: str
    weighting: Weighting | None

    @property
    def counts(self) -> Sequence[int]:
        """Examples of each shard."""
        return [shard.examples for shard in self.images.dataset.shards(self.split)]

    def read(self, shard: int) -> Examples:
        """Reads a shard and checks that it is what was written.

        Raises:
            WorkError: It is missing or damaged.
        """
        return self.images.examples_of(self.images.dataset.read_shard(self.split, shard), self.weighting)


def open_images(dataset: Path | str, input: str) -> ImageDataset:
    """Opens an image feature of a dataset folder.

    Args:
        dataset: The folder.
        input: Name of the feature, the experiment's `model.input`.

    Raises:
        RequestError: The dataset has no such image feature.
        WorkError: The folder holds no finished dataset.
    """
    opened = open_dataset(dataset)
    images = {name: feature for name, feature in opened.manifest.features.items() if isinstance(feature, Image)}
    if input not in images:
        raise RequestError(
            f"model.input is {input!r}, which is no image feature of the dataset {dataset}; it has "
            + ", ".join(repr(name) for name in images)
        )
    return ImageDataset(opened, input, images[input])


def check_fits(trained: ImageSpec, model: Path | str, found: ImageDataset) -> None:
    """Raises WorkError where a model was trained on images of another shape or other levels than a dataset holds."""
    if trained != found.spec:
        raise WorkError(
            f"the model {model} does not fit the dataset {found.dataset.folder}: it was trained on images of shape "
            f"{list(trained.shape)} with {trained.levels} levels; the dataset's {found.input!r} has shape "
            f"{list(found.spec.shape)} with {found.spec.levels} levels"
        )
