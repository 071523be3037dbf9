"""The evaluation folder and its manifest, `evaluation.json`."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import NonNegativeInt

from elboflow import artifacts
from elboflow.settings import Settings, WorkError, html
from elboflow.settings.text import counted
from elboflow.vae.evaluation import metrics
from elboflow.vae.evaluation.config import EvaluationConfig
from elboflow.vae.evaluation.evaluators import Figure, Result
from elboflow.vae.evaluation.metrics import Metrics
from elboflow.vae.folder import ModelFolder

_SPACE = "\N{NO-BREAK SPACE}"
METRICS, EXAMPLES, REPORT, FIGURES = "metrics.json", "examples.npz", "report.html", "figures"


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

    def _repr_html_(self) -> str:
        """Returns the metrics and the first picture as a notebook shows them."""
        rows = []
        for name, metric in self.metrics.items():
            value, low, high = metric.shown
            rows.append((metric.title or name, value, f"{low}{_SPACE}…{_SPACE}{high}", metric.unit, metric.meaning))
        title = f"Evaluation on {counted(self.facts.examples, 'test example')}"
        found = html.table(title, ("metric", "value", f"95{_SPACE}%{_SPACE}interval", "unit", "meaning"), rows)
        pictures = sorted(file for file in self.facts.files if file.startswith(f"{FIGURES}/") and file.endswith(".png"))
        for file in pictures[:1]:
            with artifacts.open_listed(self.path, file) as opened:
                found += html.picture(opened.read(), Path(file).stem)
        return found


def save(
    folder: Path,
    found: Result,
    keys: np.ndarray,
    report: str,
    data: DataFacts,
    config: EvaluationConfig,
    seed: int,
    trained: ModelFolder,
) -> None:
    """Writes an evaluation folder; `evaluation.json` is written last.

    Args:
        folder: The folder.
        found: The merged results of the evaluators.
        keys: The identities of the examples, int64 `[examples]`.
        report: The report, HTML.
        data: The dataset.
        config: The settings of the evaluation.
        seed: The seed of noise and samples.
        trained: The evaluated model.

    Raises:
        WorkError: A column of the results has another number of examples.
    """
    artifacts.withdraw(folder, "evaluation")
    files = {
        METRICS: (json.dumps(metrics.as_json(found.metrics), indent=2) + "\n").encode(),
        EXAMPLES: _columns(keys, found.per_example),
        REPORT: report.encode(),
        **{f"{FIGURES}/{figure.file}": _content(figure) for figure in found.figures},
    }
    for name, content in files.items():
        artifacts.write_atomically(folder / name, content)
    facts = {
        "format": FORMAT.newest,
        "examples": len(keys),
        "distinct": len(np.unique(keys)),
        "seed": seed,
        "evaluation": config.model_dump(mode="json"),
        "data": data.model_dump(mode="json"),
        "weights": trained.weights,
        "metrics": metrics.values(found.metrics),
    }
    artifacts.commit(folder, "evaluation", facts, files)


def _content(figure: Figure) -> bytes:
    return figure.content.encode() if isinstance(figure.content, str) else figure.content


def _columns(keys: np.ndarray, columns: Mapping[str, np.ndarray]) -> bytes:
    for name, column in columns.items():
        if len(column) != len(keys):
            raise WorkError(
                f"an evaluator gives {len(column):,} values of {name!r}, and the examples are {len(keys):,}"
            )
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, key=keys, **columns)
    return file.getvalue()


def load(folder: Path) -> EvaluationFolder:
    """Opens an evaluation folder.

    Raises:
        WorkError: The folder is not finished, this version cannot read it, or a file in it is missing or damaged.
    """
    facts = artifacts.open_whole(folder, FORMAT)
    return EvaluationFolder(Path(folder), facts, metrics.read(Path(folder) / METRICS, facts.format))
