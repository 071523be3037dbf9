"""An installed package adds a kind of feature and a kind of source; nothing of this program is edited for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = '''
"""A direction in degrees, stored as one float32 in turns; and a source that counts."""
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from elboflow.artifacts.spec import FeatureSpec
from preprocessing.features import Converted, Feature, Fitted, Summary, Unfit, Values
from preprocessing.raw import Batch, Raw, Unit
from preprocessing.records import Wire
from preprocessing.sources import Source
from dataclasses import dataclass


class Count(Summary):
    count: int

    def merged(self, other):
        return Count(count=self.count + other.count)


@dataclass(frozen=True)
class Turns(Values):
    turns: np.ndarray

    def take(self, rows):
        return Turns((), self.turns[rows])


class Direction(Feature):
    accepts: ClassVar = "numbers"
    kind: Literal["direction"] = "direction"
    unit: float = 360.0

    @property
    def planned(self):
        return FeatureSpec(kind="direction", dtype="float32")

    def read(self, column, name):
        values = column.to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(values < 0)
        found = [str(value) for value in values[rows]]
        unfit = (Unfit("a direction is not negative", rows, found),) if found else ()
        return Turns(unfit, (values / self.unit % 1).astype(np.float32))

    def identity(self, values):
        return values.turns.view(np.uint8).reshape(-1, 4)

    def fitted(self, summary, name):
        return FittedDirection()


class FittedDirection(Fitted):
    Statistics: ClassVar = Count
    wire = Wire("float32")

    def convert(self, values):
        return Converted(values.turns)

    def statistics(self, stored):
        return Count(count=len(stored))

    def spec(self, statistics):
        return FeatureSpec(kind="direction", dtype="float32", facts={"unit": "turns"})

    def kept(self, statistics, extent):
        return {"count": statistics.count}


class Counting(Source):
    kind: Literal["counting"] = "counting"
    upto: int

    def open(self, features):
        return Counted(self.upto, tuple(features))


@dataclass(frozen=True)
class Counted(Raw):
    upto: int
    names: tuple

    def fingerprint(self):
        return f"{self.upto:064x}"

    def describe(self):
        return f"the numbers below {self.upto}"

    def paths(self):
        return []

    def units(self):
        return [Unit("main", (start,), 800) for start in range(0, self.upto, 100)]

    def read(self, unit):
        numbers = np.arange(unit.token[0], min(self.upto, unit.token[0] + 100))
        columns = {name: pa.array(np.where(numbers == 250, -1, numbers)) for name in self.names}
        yield Batch(pa.RecordBatch.from_pydict(columns), dict.fromkeys(columns, self.describe()), numbers)
'''
RUN = """
import sys
from elboflow.settings.kinds import origins
from preprocessing.config import DataConfig
from preprocessing.pipeline import preprocess
from preprocessing.reader import open_dataset
config = DataConfig.model_validate({"source": {"kind": "counting", "upto": 1000}, "features": {"wind": "direction"}})
made = preprocess(config, sys.argv[1]).manifest
dataset = open_dataset(sys.argv[1])
found = sorted(float(turn) for split in made.counts for turn in dataset.read(split)["wind"])
assert len(found) == 999 and found[:2] == [0.0, 0.0] and max(found) < 1, found
print(made.features["wind"].model_dump(), made.rejected, sum(kept["count"] for kept in made.summaries["wind"].values()))
print(origins(config))
"""


def run(folder: Path, script: str, version: str = "1.2") -> list[str]:
    """Returns the lines that a program prints beside which a version of the package is installed."""
    site = folder / f"site-{version}"
    if not site.exists():
        installed = site / f"weather_vanes-{version}.dist-info"
        installed.mkdir(parents=True)
        (site / "weather_vanes.py").write_text(MODULE, encoding="utf-8")
        metadata = f"Metadata-Version: 2.1\nName: weather-vanes\nVersion: {version}\n"
        (installed / "METADATA").write_text(metadata, encoding="utf-8")
        (installed / "entry_points.txt").write_text(
            "[elboflow.features]\ndirection = weather_vanes:Direction\n"
            "[elboflow.sources]\ncounting = weather_vanes:Counting\n",
            encoding="utf-8",
        )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(site)])}
    command = [sys.executable, "-c", script, str(folder / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_kind_of_feature_and_a_source_come_with_an_installed_package(tmp_path: Path):
    spec, origins = run(tmp_path, RUN)
    assert spec == (
        "{'kind': 'direction', 'dtype': 'float32', 'shape': (), 'levels': None, 'ragged': False, 'facts': "
        "{'unit': 'turns'}} {'wind: a direction is not negative': 1} 999"
    )
    assert origins == (
        "{'elboflow.sources:counting': 'weather-vanes 1.2', 'elboflow.features:direction': 'weather-vanes 1.2'}"
    )
    assert '"found": "-1"' in (tmp_path / "out/rejected.jsonl").read_text(encoding="utf-8")


AGREE = """
import sys
from components.binding.agreement import check_dataset
from elboflow.settings import RequestError
from preprocessing.config import DataConfig
from preprocessing.pipeline import dataset_digest, preprocess
from preprocessing.reader import open_dataset
config = DataConfig.model_validate({"source": {"kind": "counting", "upto": 1000}, "features": {"wind": "direction"}})
print(dataset_digest(config))
try:
    check_dataset("wind", config, sys.argv[1])
    print("agrees")
except RequestError as error:
    print(str(error).splitlines()[1:3])
made = preprocess(config, sys.argv[1])
print(made.reused, open_dataset(sys.argv[1]).manifest.kinds)
"""


@pytest.mark.slow
def test_another_version_of_the_package_makes_another_dataset(tmp_path: Path):
    run(tmp_path, RUN)
    digest, *same = run(tmp_path, AGREE)
    kinds = "{'elboflow.sources:counting': 'weather-vanes 1.2', 'elboflow.features:direction': 'weather-vanes 1.2'}"
    assert same == ["agrees", f"True {kinds}"]
    other, said, made = run(tmp_path, AGREE, "1.3")
    assert other != digest
    assert "data (elboflow.features:direction) is 'weather-vanes 1.2'; the experiment says 'weather-vanes 1.3'" in said
    assert "data (elboflow.sources:counting) is 'weather-vanes 1.2'" in said
    assert made == f"False {kinds.replace('1.2', '1.3')}"
