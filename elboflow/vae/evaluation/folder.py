"""The evaluation folder as others read it: `evaluation.json` says what was evaluated, and how."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import NonNegativeInt

from elboflow import artifacts
from elboflow.settings import Settings
from elboflow.vae.evaluation import metrics
from elboflow.vae.evaluation.config import EvaluationConfig
from elboflow.vae.evaluation.metrics import Metrics

METRICS, EXAMPLES, REPORT = "metrics.json", "examples.npz", "report.html"


class DataFacts(Settings):
    """Which examples were evaluated; see `elboflow.vae.evaluation.evaluators.TestData`."""

    dataset: str
    counts: dict[str, NonNegativeInt]


class Facts(artifacts.Described):
    """What `evaluation.json` says; a new field needs a default, or a new format and an upgrade of the older ones.

    Attributes:
        examples: Number of examples.
        distinct: Number of different ones; None where they were not counted.
        seed: Fixes bits and samples.
        evaluation: The settings.
        data: Which dataset it is of.
        weights: SHA-256 of the model's file.
        metrics: The numbers of `metrics.json`, without their intervals.
    """

    examples: NonNegativeInt
    distinct: NonNegativeInt | None = None
    seed: int
    evaluation: EvaluationConfig
    data: DataFacts
    weights: str
    metrics: dict[str, float]


FORMAT = artifacts.Format(
    "evaluation",
    Facts,
    upgrades=(artifacts.checksum_added, None),  # from format 2 to 3: metrics.json
    holds=frozenset({METRICS, EXAMPLES, REPORT}),
)


@dataclass(frozen=True)
class EvaluationFolder:
    """A finished evaluation folder.

    Attributes:
        path: Where it is.
        facts: What its manifest says.
        metrics: The numbers, with their intervals.
    """

    path: Path
    facts: Facts
    metrics: Metrics


def load(folder: Path) -> EvaluationFolder:
    """Opens an evaluation folder.

    Raises:
        WorkError: It is not finished, or this version cannot read it, or a file of it is missing or damaged.
    """
    facts = artifacts.open_whole(folder, FORMAT)
    return EvaluationFolder(Path(folder), facts, metrics.read(Path(folder) / METRICS, facts.format))
