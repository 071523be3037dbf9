"""The evaluation folder and its manifest, `evaluation.json`."""

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
    """The dataset of the evaluation; see `elboflow.vae.evaluation.evaluators.DatasetDescription`."""

    dataset: str
    counts: dict[str, NonNegativeInt]


class Facts(artifacts.Described):
    """The content of `evaluation.json`. A new field needs a default, or a new format version with an upgrade.

    Attributes:
        examples: The number of examples.
        distinct: The number of distinct examples; None in older manifests.
        seed: The seed of noise and samples.
        evaluation: The settings of the evaluation.
        data: The dataset.
        weights: SHA-256 of the `.keras` file of the model.
        metrics: The values in `metrics.json`, without intervals.
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
        path: The path of the folder.
        facts: The content of the manifest.
        metrics: The metrics, with intervals.
    """

    path: Path
    facts: Facts
    metrics: Metrics


def load(folder: Path) -> EvaluationFolder:
    """Opens an evaluation folder.

    Raises:
        WorkError: The folder is not finished, this version cannot read it, or a file in it is missing or damaged.
    """
    facts = artifacts.open_whole(folder, FORMAT)
    return EvaluationFolder(Path(folder), facts, metrics.read(Path(folder) / METRICS, facts.format))
