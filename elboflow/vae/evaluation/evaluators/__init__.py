"""What an evaluation looks at: one kind is one file. Screen, MLflow, report and gate show what they return.

An evaluator is called once, with all that was computed of a model. What several of them want is computed when the first
one asks (`Seen`), so that it is computed once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from elboflow.settings.kinds import Kind
from elboflow.vae.data import Examples, Source
from elboflow.vae.evaluation.metrics import Metric
from elboflow.vae.terms import Specs

if TYPE_CHECKING:  # these import Keras's users
    from elboflow.vae.evaluation.bounds import Bounds
    from elboflow.vae.folder import ModelFolder
    from elboflow.vae.model import Model

_SAMPLES = 64
_SHOWN = 20  # examples with their reconstructions


@dataclass(frozen=True)
class TestData:
    """What an evaluation says of the data it used.

    Attributes:
        dataset: The digest of the dataset whose test split was evaluated.
        counts: Examples by split.
        distinct: Examples by split, without those whose identity is another example's; None where that is not known.
        label: The feature that examples are told apart by in figures; None: there is none.
        classes: The name of each class of the label, by its number; None where classes have no names.
        remarks: What a reader should know of the data, in sentences.
    """

    __test__ = False  # not a test case, as its name makes pytest believe

    dataset: str
    counts: Mapping[str, int]
    distinct: Mapping[str, int] | None = None
    label: str | None = None
    classes: Sequence[str] | None = None
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """A picture, or a text, of a report.

    Attributes:
        name: Of its file, without the suffix.
        title: Above it.
        caption: Below it.
        content: A PNG, or a text.
        wide: Whether it takes the whole width of a page.
    """

    name: str
    title: str
    caption: str
    content: bytes | str
    wide: bool = False

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.{'txt' if isinstance(self.content, str) else 'png'}"


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        title: Above it.
        caption: What it says, in a line.
        columns: The names of the columns; that of a column of bars is empty.
        rows: Of texts; a number in a column of bars is a share, from 0 to 1.
        note: Below it.
    """

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    note: str = ""


@dataclass(frozen=True)
class Result:
    """What an evaluator found.

    Attributes:
        metrics: By name.
        per_example: Columns of `examples.npz`, `[examples]`.
        figures: In the order of the report.
        tables: In the order of the report.
    """

    metrics: Mapping[str, Metric] = field(default_factory=dict)
    per_example: Mapping[str, np.ndarray] = field(default_factory=dict)
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Seen:
    """A model, the examples that it is judged on, and what is known of it.

    Attributes:
        trained: The model folder.
        test: The test split.
        data: Which dataset it is of.
        bound_samples: k, the importance samples behind each bound.
        batch_size: Examples per compiled call.
        resamples: Behind each interval.
        seed: Fixes noise, samples and resamples.
    """

    trained: "ModelFolder"
    test: Source
    data: TestData
    bound_samples: int
    batch_size: int
    resamples: int
    seed: int

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
        """What the decoder makes of the posterior means of `shown`, by feature."""
        from elboflow.vae.evaluation import samples

        return samples.decode(self.model, self.means, samples.condition_of(self.model, self.shown))

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """64 new examples, by feature; a condition is that of the examples that are shown, one after the other."""
        from elboflow.vae.evaluation import samples

        given = {
            name: np.resize(values, (_SAMPLES, *values.shape[1:]))
            for name, values in samples.condition_of(self.model, self.shown).items()
        }
        return samples.generate(self.model, _SAMPLES, self.seed, given)

    @cached_property
    def labels(self) -> np.ndarray | None:
        """The class of each example, int64 `[examples]`."""
        if self.data.label is None:
            return None
        shards = [shard for shard, count in enumerate(self.test.counts) if count]
        return np.concatenate([self.test.read(shard).features[self.data.label] for shard in shards])


class Evaluator(Kind):
    """Looks at a model and returns numbers, values of examples, figures and tables.

    Attributes:
        order: Its place among the others; those of this program have multiples of ten.
        columns: The names of the values of examples that it gives; None: it says so only when it is called.
    """

    group, folder = "elboflow.evaluators", __name__
    order: ClassVar[int] = 1000
    columns: ClassVar[tuple[str, ...] | None] = None

    def fits(self, modelled: Specs) -> bool:
        """Whether it has something to say of a model of these features. If not, an experiment cannot name it."""
        return True

    def __call__(self, seen: Seen) -> Result:
        """Returns what it finds.

        Raises:
            WorkError: It cannot tell; the sentence says why.
        """
        raise NotImplementedError
