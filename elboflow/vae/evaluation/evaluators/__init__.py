"""Evaluators: the parts of an evaluation. A kind is one file.

The terminal, MLflow, the report and the gate show the results of evaluators. An evaluator is called once per model.
Shared inputs of evaluators are computed at their first use, and cached (`Seen`).
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from elboflow.settings.kinds import Kind
from elboflow.vae.data import Examples, Source
from elboflow.vae.evaluation.metrics import Metric
from elboflow.vae.terms import Specs

if TYPE_CHECKING:  # these modules import Keras
    from elboflow.vae.evaluation.bounds import Bounds
    from elboflow.vae.folder import ModelFolder
    from elboflow.vae.model import Model

_SAMPLES = 64
_SHOWN = 20  # examples in figures of reconstructions


@dataclass(frozen=True)
class DatasetDescription:
    """The dataset of an evaluation.

    Attributes:
        dataset: The digest of the dataset.
        counts: Examples by split.
        distinct: Distinct examples by split; None if unknown.
        label: The feature that colours examples in figures; None if there is none.
        classes: The names of the label's classes, by class; None if classes have no names.
        remarks: Remarks about the data for readers of the report, in sentences.
    """

    dataset: str
    counts: Mapping[str, int]
    distinct: Mapping[str, int] | None = None
    label: str | None = None
    classes: Sequence[str] | None = None
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """A picture or a text in a report.

    Attributes:
        name: The name of the file, without suffix.
        title: The title above the figure.
        caption: The caption below the figure.
        content: The bytes of a PNG, or a text.
        wide: Whether the figure takes the whole width of the page.
        paper: What dark mode does with a picture: it keeps its white paper; a drawing on white is inverted; or it is
            transparent, with ink that is legible on light and on dark pages.
    """

    name: str
    title: str
    caption: str
    content: bytes | str
    wide: bool = False
    paper: Literal["white", "inverted", "transparent"] = "white"

    @property
    def file(self) -> str:
        """The name of the file."""
        return f"{self.name}.{'txt' if isinstance(self.content, str) else 'png'}"


@dataclass(frozen=True)
class Table:
    """A table in a report.

    Attributes:
        title: The title above the table.
        caption: A summary of the table, in a line.
        columns: The names of the columns; "" for a column of bars.
        rows: Cells: texts, and in a column of bars a fraction from 0 to 1.
        note: A note below the table.
    """

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    note: str = ""


@dataclass(frozen=True)
class Result:
    """The result of an evaluator.

    Attributes:
        metrics: The metrics, by name.
        per_example: The columns for `examples.npz`, `[examples]` each, by name.
        figures: The figures, in the order of the report.
        tables: The tables, in the order of the report.
    """

    metrics: Mapping[str, Metric] = field(default_factory=dict)
    per_example: Mapping[str, np.ndarray] = field(default_factory=dict)
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Seen:
    """The input of evaluators: a model, its test examples, and cached results on them.

    Attributes:
        trained: The model folder.
        test: The test split.
        data: The dataset of the test split.
        bound_samples: k, the number of importance samples of each bound.
        batch_size: The number of examples per compiled call.
        resamples: The number of bootstrap resamples of each interval.
        seed: The seed of noise, samples and resamples.
        train: The train split; None if it is not at hand.
    """

    trained: "ModelFolder"
    test: Source
    data: DatasetDescription
    bound_samples: int
    batch_size: int
    resamples: int
    seed: int
    train: Source | None = None

    @property
    def model(self) -> "Model":
        """The model."""
        return self.trained.model

    @property
    def modelled(self) -> Specs:
        """The features that the model models, without those that it is conditioned on."""
        return {name: self.model.specs[name] for name in self.model.config.features}

    @cached_property
    def bounds(self) -> "Bounds":
        """The bounds of each example."""
        from elboflow.vae.evaluation.bounds import bounds

        return bounds(self.model, self.test, self.bound_samples, self.seed, self.batch_size)

    @cached_property
    def keys(self) -> np.ndarray:
        """The identity of each example, int64 `[examples]`."""
        from elboflow.vae.batches import batches

        if "bounds" in vars(self):  # they have read the test split
            return self.bounds.keys
        read = batches(self.test, self.model.specs, self.batch_size, "test")
        return np.concatenate([filled.examples.keys[: filled.count] for filled in read])

    @cached_property
    def shown(self) -> Examples:
        """The first 20 distinct examples."""
        rows = np.sort(np.unique(self.keys, return_index=True)[1])[:_SHOWN]
        read: list[Examples] = []
        for shard, count in enumerate(self.test.counts):
            if sum(map(len, read)) > rows[-1]:
                break
            if count:
                read.append(self.test.read(shard))
        return Examples.joined(read)[rows].padded(self.model.specs)

    @cached_property
    def means(self) -> tuple[np.ndarray, ...]:
        """The posterior means of `shown` in each layer of latents, `[examples, units]`."""
        from elboflow.vae.evaluation import samples

        return samples.encode(self.model, self.shown, self.seed)

    @cached_property
    def reconstructions(self) -> dict[str, np.ndarray]:
        """The reconstructions of `shown` from their posterior means, by feature."""
        from elboflow.vae.evaluation import samples

        return samples.decode(self.model, self.means, samples.condition_of(self.model, self.shown))

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """64 generated examples, by feature. Conditions are taken from `shown` in turn."""
        from elboflow.vae.evaluation import samples

        given = {
            name: np.resize(values, (_SAMPLES, *values.shape[1:]))
            for name, values in samples.condition_of(self.model, self.shown).items()
        }
        return samples.generate(self.model, _SAMPLES, self.seed, given)

    @cached_property
    def labels(self) -> np.ndarray | None:
        """The class of each example, int64 `[examples]`; None without a label."""
        if self.data.label is None:
            return None
        shards = [shard for shard, count in enumerate(self.test.counts) if count]
        return np.concatenate([self.test.read(shard).features[self.data.label] for shard in shards])


class Evaluator(Kind):
    """An evaluator computes metrics, values per example, figures and tables of a model.

    Attributes:
        order: The position of its results in the report; evaluators are sorted by it.
        columns: The names of its per-example values; None if they are known only after the call.
    """

    group, folder = "elboflow.evaluators", __name__
    order: ClassVar[int] = 1000
    columns: ClassVar[tuple[str, ...] | None] = None

    def fits(self, modelled: Specs) -> bool:
        """Whether the evaluator applies to a model of these features. An experiment can name it only if it does."""
        return True

    @abstractmethod
    def __call__(self, seen: Seen) -> Result:
        """Returns the result.

        Raises:
            WorkError: The evaluation failed; the message has the reason.
        """
