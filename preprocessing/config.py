"""The `data` section of an experiment: where examples come from, what they are made of, how they are split.

    data:
      source: {kind: idx, path: mnist}
      features: {image: {kind: image, shape: [28, 28, 1], range: [0, 255]}, label: category}
      splits: {train: 0.9, validation: 0.1, test: source}

Only `source` must be given. This file imports pydantic and nothing heavier, so that a command line can check an
experiment at once; whether the files exist is `preprocessing.sources.check`'s question.
"""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from elboflow.settings import Settings, by_name
from elboflow.settings.explain import written
from elboflow.settings.locations import allowing
from elboflow.settings.text import shown
from preprocessing.files import SCHEMES

KEY = "key"
HELD_OUT = "source"

Name = Annotated[
    str,
    written("[a-z][a-z0-9_]*", "be a lower-case letter, and then lower-case letters, digits and underscores"),
]
Size = Annotated[int, Field(ge=1)]
Location = Annotated[str, allowing(*SCHEMES)]

LARGEST = 1e300
"""The largest number of a range: differences of larger ones have no float64."""


# Ranges of whole numbers that usually hold what lies between them, too.
_NORMALISED = ((0, 1), (-1, 1))


def _levels(validated: dict[str, Any]) -> int:
    low, high = validated["range"]
    whole = float(low).is_integer() and float(high).is_integer() and (low, high) not in _NORMALISED
    return int(high - low) + 1 if whole and 1 < high - low <= 255 and not validated["quantise"] else 256


class ImageFeature(Settings):
    """An image (or any array [height, width, channels]), stored as one uint8 code per value.

    A raw value x in `range` = [low, high] becomes the code round((x - low) / (high - low) · (levels - 1)). `levels`
    defaults to high - low + 1 for whole-numbered ranges of at most 256 values, so that nothing is lost, and otherwise
    to 256. For [0, 1] and [-1, 1], which usually hold fractions, it is 256, too; and for any range with `quantise`.

    Where there is one level for each whole number, a value between two of them is an error, unless `quantise` says that
    values are to be rounded to the nearest level.
    """

    kind: Literal["image"] = "image"
    shape: tuple[Size, Size, Size]
    range: tuple[int | float, int | float]
    quantise: bool = Field(default=False, exclude_if=lambda value: not value)  # so that addresses stay what they were
    levels: int = Field(default_factory=_levels, ge=2, le=256)

    @field_validator("range")
    @classmethod
    def _rises(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not low < high:
            raise ValueError(f"range is [low, high] with low < high, not [{low}, {high}]")
        if max(abs(low), abs(high)) > LARGEST:
            raise ValueError(f"range is within [-{LARGEST:g}, {LARGEST:g}]")
        return value

    @property
    def is_exact(self) -> bool:
        """Whether each code stands for one whole raw value: then a raw value between two codes is an error."""
        return not self.quantise and self.levels == self.range[1] - self.range[0] + 1

    @property
    def size(self) -> int:
        """The number of values of one example, which is also its bytes."""
        return math.prod(self.shape)


class CategoryFeature(Settings):
    """A class: a whole number, or the class's name as text, which is stored as its place among the sorted names.

    With `classes` given, a number must lie in 0 … classes - 1, and there must be no more names.
    """

    kind: Literal["category"] = "category"
    classes: Annotated[int, Field(ge=1)] | None = None


class NumberFeature(Settings):
    """A finite number, stored as float32: how much an example weighs in training, for instance."""

    kind: Literal["number"] = "number"


AnyFeature = ImageFeature | CategoryFeature | NumberFeature
Feature = Annotated[AnyFeature, Field(discriminator="kind"), BeforeValidator(by_name)]


class SklearnSource(Settings):
    """A data set of images that scikit-learn carries inside itself: no download."""

    kind: Literal["sklearn"] = "sklearn"
    dataset: Literal["digits"] = "digits"

    @property
    def locations(self) -> dict[str, str]:
        """The files and folders that are named, by their keys."""
        return {}

    @property
    def has_held_out(self) -> bool:
        return False

    @property
    def default_features(self) -> dict[str, AnyFeature]:
        return {"image": ImageFeature(shape=(8, 8, 1), range=(0, 16)), "label": CategoryFeature()}


class IdxSource(Settings):
    """Files in MNIST's idx format, plain or gzipped.

    Either `path`, a folder in MNIST's layout (train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz], and perhaps
    t10k-images-… and t10k-labels-…, which are its held-out part; also with a dot, as in train-images.idx3-ubyte), or
    the files one by one.
    """

    kind: Literal["idx"] = "idx"
    path: Location | None = None
    images: Location | None = None
    labels: Location | None = None
    test_images: Location | None = None
    test_labels: Location | None = None

    @model_validator(mode="after")
    def _folder_or_files(self) -> "IdxSource":
        if (self.path is None) == (self.images is None):
            raise ValueError("an idx source has either `path` (a folder in MNIST's layout) or `images` (a file)")
        if self.path is not None and (self.labels or self.test_images or self.test_labels):
            raise ValueError("an idx source with a `path` finds its files by name: no labels, test_images, test_labels")
        if self.test_labels is not None and self.test_images is None:
            raise ValueError("test_labels needs test_images")
        return self

    @property
    def locations(self) -> dict[str, str]:
        """The files and folders that are named, by their keys."""
        keys = ("path", "images", "labels", "test_images", "test_labels")
        return {key: location for key in keys if (location := getattr(self, key)) is not None}

    @property
    def has_held_out(self) -> bool:
        return self.path is not None or self.test_images is not None

    @property
    def default_features(self) -> dict[str, AnyFeature]:
        image = ImageFeature(shape=(28, 28, 1), range=(0, 255))
        return {"image": image} if self.images and not self.labels else {"image": image, "label": CategoryFeature()}


class NpzSource(Settings):
    """Arrays of a NumPy .npz file, one array per feature with the examples along its first axis.

    `arrays` says which array holds which feature; a feature that it leaves out is in the array of its own name.
    `held_out` says the same of the part that the file itself holds out, such as {image: x_test, label: y_test}.
    """

    kind: Literal["npz"] = "npz"
    path: Location
    arrays: dict[Name, str] = Field(default={})
    held_out: dict[Name, str] = Field(default={})

    @property
    def locations(self) -> dict[str, str]:
        """The files and folders that are named, by their keys."""
        return {"path": self.path}

    @property
    def has_held_out(self) -> bool:
        return bool(self.held_out)


Source = Annotated[SklearnSource | IdxSource | NpzSource, Field(discriminator="kind"), BeforeValidator(by_name)]


def _fraction(value: Any) -> Any:
    if value == HELD_OUT or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1):
        return value
    raise ValueError(
        f"a split is a fraction in (0, 1], or `{HELD_OUT}`, the part that the source holds out; not {shown(value)}"
    )


Split = Annotated[float | Literal["source"], BeforeValidator(_fraction)]


class Shards(Settings):
    """How the records are cut into files. A shard is sorted in memory, so it should fit there several times."""

    short_form: ClassVar = "megabytes"
    megabytes: float = Field(default=16, gt=0, le=2000)


def _default_features(validated: dict[str, Any]) -> Any:
    source = validated["source"]
    return {} if isinstance(source, NpzSource) else source.default_features


class DataConfig(Settings):
    """What a dataset is made from.

    Attributes:
        source: Where the examples come from.
        features: What an example is made of; one of them at least is an image. Defaults to what the source holds.
        splits: A fraction of the examples for each split, by a hash of the example's content; or `source`, the part
            that the source itself holds out. Without such a split a held-out part is pooled with the rest.
        shards: How the records are cut into files.
        workers: How many Beam workers do the work. It does not change what is written.
    """

    source: Source
    features: dict[Name, Feature] = Field(default_factory=_default_features)
    splits: dict[Name, Split] = Field(default={"train": 0.8, "validation": 0.1, "test": 0.1})
    shards: Shards = Shards()
    workers: int = Field(default=1, ge=1, le=256)

    @property
    def images(self) -> dict[str, ImageFeature]:
        """The image features by name, in the order of their names."""
        return {name: f for name, f in sorted(self.features.items()) if isinstance(f, ImageFeature)}

    @property
    def categories(self) -> dict[str, CategoryFeature]:
        """The category features by name, in the order of their names."""
        return {name: f for name, f in sorted(self.features.items()) if isinstance(f, CategoryFeature)}

    @property
    def numbers(self) -> dict[str, NumberFeature]:
        """The number features by name, in the order of their names."""
        return {name: f for name, f in sorted(self.features.items()) if isinstance(f, NumberFeature)}

    @field_validator("splits")
    @classmethod
    def _make_a_whole(cls, splits: dict[str, float | str]) -> dict[str, float | str]:
        fractions = [fraction for fraction in splits.values() if not isinstance(fraction, str)]
        if not isinstance(splits.get("train"), float):
            raise ValueError(f"splits must give `train` a fraction; given: {shown(splits)}")
        if abs(sum(fractions) - 1) > 1e-9:
            raise ValueError(f"the fractions of splits must sum to 1; {shown(splits)} sum to {sum(fractions):.6g}")
        if len(splits) - len(fractions) > 1:
            raise ValueError(f"only one split can be `{HELD_OUT}`, the one held-out part of a source: {shown(splits)}")
        return splits

    @model_validator(mode="after")
    def _features_are_in_the_source(self) -> "DataConfig":
        if KEY in self.features:
            raise ValueError(f"features: the name `{KEY}` is taken by the hash of each example's content")
        if isinstance(self.source, NpzSource) and not self.features:
            raise ValueError("features: an npz file does not say what its arrays mean; give at least one image feature")
        if not self.images:
            raise ValueError("features: at least one must be of kind image")
        if HELD_OUT in self.splits.values() and not self.source.has_held_out:
            raise ValueError(f"splits: this {self.source.kind} source has no held-out part; give each split a fraction")
        if isinstance(self.source, NpzSource):
            unknown = sorted((set(self.source.arrays) | set(self.source.held_out)) - set(self.features))
            if unknown:
                features = ", ".join(sorted(self.features))
                raise ValueError(f"source: arrays for {', '.join(unknown)}; the features are {features}")
            return self
        offered = self.source.default_features
        for name, feature in self.features.items():
            if name not in offered:
                has = ", ".join(sorted(offered))
                raise ValueError(f"features: the {self.source.kind} source has no '{name}'; it has {has}")
            if feature.kind != offered[name].kind:
                raise ValueError(f"features: '{name}' is of kind {offered[name].kind}, not {feature.kind}")
        return self
