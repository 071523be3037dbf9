"""A user's own package: a feature kind, the source that it comes from, and an evaluator. No edit elsewhere."""

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError
from elboflow.vae.data import Examples
from elboflow.vae.evaluation.evaluators import Evaluator, Figure, Result, Seen
from elboflow.vae.evaluation.metrics import Metric
from preprocessing.features import Converted, Feature, Fitted, Summary, Unfit, Values
from preprocessing.raw import Batch, Raw, Unit
from preprocessing.records import Wire
from preprocessing.sources import Source

if TYPE_CHECKING:
    import pyarrow as pa


class Calm(Summary):
    """How many directions there are."""

    count: int

    def merged(self, other: "Calm") -> "Calm":
        return Calm(count=self.count + other.count)


@dataclass(frozen=True)
class Degrees(Values):
    """Directions of a batch, float32 `[rows, stations]`."""

    degrees: np.ndarray

    def take(self, rows: np.ndarray) -> "Degrees":
        return Degrees((), self.degrees[rows])


class Direction(Feature):
    """Where the wind comes from at some stations, in degrees, stored in turns."""

    accepts: ClassVar = "arrays"
    identifies: ClassVar = True
    kind: Literal["direction"] = "direction"
    stations: PositiveInt

    @property
    def planned(self) -> FeatureSpec:
        return FeatureSpec(kind="direction", dtype="float32", shape=(self.stations,))

    @property
    def row_shape(self) -> tuple[int, ...]:
        return (self.stations,)

    def read(self, column: "pa.Array", name: str) -> Degrees:
        degrees = np.stack(column.to_numpy(zero_copy_only=False)).astype(np.float32)
        wrong = np.flatnonzero(((degrees < 0) | (degrees >= 360)).any(axis=1))
        found = [str(degrees[row].tolist()) for row in wrong.tolist()]
        unfit = (Unfit("a direction is at least 0 and less than 360 degrees", wrong, found),) if found else ()
        return Degrees(unfit, degrees)

    def identity(self, values: Degrees) -> np.ndarray:
        return values.degrees.view(np.uint8)

    @classmethod
    def stored(cls, name: str, spec: FeatureSpec, raw: Any) -> dict[str, np.ndarray]:
        degrees = super().stored(name, spec, raw)[name]
        if ((degrees < 0) | (degrees >= 360)).any():
            raise RequestError(f"{name!r} takes directions of at least 0 and less than 360 degrees")
        return {name: (degrees / 360).astype(np.float32)}

    @classmethod
    def identity_of(cls, name: str, spec: FeatureSpec, raw: Any, stored: Mapping[str, np.ndarray]) -> np.ndarray:
        return super().stored(name, spec, raw)[name].view(np.uint8)

    @classmethod
    def raw(cls, name: str, spec: FeatureSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
        return expected[name] * np.float32(360)

    def fitted(self, summary: None, name: str) -> "FittedDirection":
        return FittedDirection(self)


@dataclass(frozen=True)
class FittedDirection(Fitted):
    """A direction as it is stored."""

    Statistics: ClassVar = Calm
    feature: Direction

    @property
    def wire(self) -> Wire:
        return Wire("float32", self.feature.stations)

    def convert(self, values: Degrees) -> Converted:
        return Converted((values.degrees / 360).astype(np.float32))

    def statistics(self, stored: np.ndarray) -> Calm:
        return Calm(count=len(stored))

    def spec(self, statistics: Mapping[str, Calm]) -> FeatureSpec:
        return self.feature.planned

    def kept(self, statistics: Calm, extent: Any) -> dict[str, Any]:
        return {"count": statistics.count}


class Stations(Source):
    """Directions that one could have measured: the same ones each time."""

    kind: Literal["stations"] = "stations"
    hours: PositiveInt = 600

    def open(self, features: Mapping[str, Feature]) -> "Measured":
        return Measured(self.hours, {name: feature.row_shape[0] for name, feature in features.items()})


@dataclass(frozen=True)
class Measured(Raw):
    """The source, opened."""

    hours: int
    stations: dict[str, int]

    def fingerprint(self) -> str:
        return f"{self.hours:064x}"

    def describe(self) -> str:
        return f"{self.hours} hours of wind"

    def paths(self) -> list[str]:
        return []

    def units(self) -> list[Unit]:
        return [Unit("main", (first,), 10_000) for first in range(0, self.hours, 100)]

    def read(self, unit: Unit) -> Iterator[Batch]:
        import pyarrow as pa

        rows = np.arange(int(unit.token[0]), min(self.hours, int(unit.token[0]) + 100))
        columns = {}
        for name, count in self.stations.items():
            drawn = np.random.default_rng(int(unit.token[0]))
            weather = drawn.choice([45.0, 225.0], (len(rows), 1)) + 30 * drawn.normal(size=(len(rows), 1))
            degrees = (weather + 10 * drawn.normal(size=(len(rows), count))) % 360
            degrees[rows == 7] = -1.0
            columns[name] = pa.array(list(degrees.astype(np.float32)))
        yield Batch(pa.RecordBatch.from_pydict(columns), dict.fromkeys(columns, "the stations"), rows, noun="hour")


class Steadiness(Evaluator):
    """How much the stations agree with each other."""

    order: ClassVar[int] = 100
    kind: Literal["steadiness"] = "steadiness"

    def __call__(self, seen: Seen) -> Result:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas

        shards = range(len(seen.test.counts))
        turns = Examples.joined([seen.test.read(shard) for shard in shards]).features[seen.model.config.features[0]]
        per_example = np.abs(np.exp(2j * np.pi * turns).mean(axis=1))
        error, mean = 1.96 * per_example.std() / math.sqrt(len(per_example)), float(per_example.mean())
        canvas = Canvas(figsize=(4, 3))
        canvas.subplots().hist(per_example, bins=20)
        file = io.BytesIO()
        FigureCanvasAgg(canvas).print_png(file)
        metric = Metric(mean, mean - error, mean + error, "steadiness", "of 1", "higher", "Mean resultant length.", 3)
        figure = Figure("steadiness", "Steadiness", "The resultant length of each hour.", file.getvalue())
        return Result({"steadiness": metric}, {"steadiness": per_example}, [figure])
