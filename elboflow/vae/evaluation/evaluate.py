"""The evaluation of a trained model: test examples → an evaluation folder with its manifest."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from elboflow import artifacts
from elboflow.settings import WorkError, table
from elboflow.settings.text import counted
from elboflow.vae.data import Source
from elboflow.vae.evaluation import folder
from elboflow.vae.evaluation.config import EvaluationConfig
from elboflow.vae.evaluation.evaluators import DatasetDescription, Evaluator, Result, Seen
from elboflow.vae.evaluation.folder import DataFacts
from elboflow.vae.evaluation.metrics import Metrics, summary
from elboflow.vae.evaluation.report import report
from elboflow.vae.folder import ModelFolder
from elboflow.vae.model import Model

logger = logging.getLogger("elboflow.evaluation")


def evaluate(
    trained: ModelFolder,
    test: Source,
    data: DatasetDescription,
    config: EvaluationConfig,
    seed: int,
    output: Path,
    train: Source | None = None,
) -> Metrics:
    """Evaluates a model on test examples, and writes the evaluation folder, its manifest last.

    The same model, examples, settings and seed give the same numbers. Two models evaluated with the same seed get the
    same binarised or dequantised examples, in any order.

    Args:
        trained: The model folder.
        test: The test split.
        data: The dataset of the test split.
        config: The settings of the evaluation.
        seed: The seed of the noise of each example, of the samples in figures, and of the bootstrap.
        output: The folder to write: metrics.json, examples.npz, figures/*, report.html, then evaluation.json.
        train: The train split, to which the baseline is fitted; None for no baseline.

    Returns:
        The metrics.

    Raises:
        WorkError: The examples or an evaluator do not fit the model, there are no examples, or a bound is not finite.
    """
    started = time.monotonic()
    artifacts.withdraw(output, "evaluation")
    seen = _seen(trained, test, data, config, seed, train)
    found = merged([evaluator(seen) for evaluator in chosen(config, trained.model)])
    keys = seen.keys
    distinct = len(np.unique(keys))
    page = report(found, distinct, seen, config)
    folder.save(output, found, keys, page, DataFacts(dataset=data.dataset, counts=data.counts), config, seed, trained)
    logger.info(
        "evaluated %s%s with %s each in %.1f s: %s",
        counted(len(keys), "example"),
        f" ({distinct:,} distinct)" if distinct < len(keys) else "",
        counted(config.bound_samples, "sample"),
        time.monotonic() - started,
        summary(found.metrics),
    )
    return found.metrics


def of_example(
    metric: str, trained: ModelFolder, test: Source, data: DatasetDescription, config: EvaluationConfig, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the keys and a metric of test examples, computed as in `evaluate`.

    Args:
        metric: The name of the metric.
        trained: The model folder.
        test: The test split.
        data: The dataset of the test split.
        config: The settings of the evaluation.
        seed: The seed of the noise of each example.

    Returns:
        The keys, int64 `[examples]`, and the metric of each example, `[examples]`.

    Raises:
        WorkError: No evaluator of this model computes the metric for each example.
    """
    seen = _seen(trained, test, data, config, seed)
    for evaluator in chosen(config, trained.model):
        if evaluator.columns is None or metric in evaluator.columns:
            columns = evaluator(seen).per_example
            if metric in columns:
                return seen.keys, columns[metric]
    raise WorkError(f"no evaluator of this model gives {metric!r} for each example")


def _seen(
    trained: ModelFolder,
    test: Source,
    data: DatasetDescription,
    config: EvaluationConfig,
    seed: int,
    train: Source | None = None,
) -> Seen:
    return Seen(trained, test, data, config.bound_samples, config.batch_size, config.bootstrap_samples, seed, train)


def chosen(config: EvaluationConfig, model: Model) -> list[Evaluator]:
    """Returns the evaluators for a model: the built-in ones that fit it, and those that the settings name.

    Raises:
        WorkError: An evaluator that the settings name does not fit the model.
    """
    modelled = {name: model.specs[name] for name in model.config.features}
    if reason := config.unfit(modelled):
        raise WorkError(f"evaluation.evaluators: {reason}")
    named = {evaluator.kind: evaluator for evaluator in config.evaluators}
    own = [kind.parse({"kind": name}) for name, kind in table.own_kinds(Evaluator).items() if name not in named]
    return sorted([*(found for found in own if found.fits(modelled)), *named.values()], key=lambda found: found.order)


def merged(results: Sequence[Result]) -> Result:
    """Merges the results of several evaluators.

    Raises:
        WorkError: Two results have a metric, a column or a figure of the same name.
    """
    metrics = _joined("metric", [result.metrics for result in results])
    columns = _joined("column", [result.per_example for result in results])
    figures = _joined("figure", [{figure.file: figure for figure in result.figures} for result in results])
    return Result(metrics, columns, list(figures.values()), [table for result in results for table in result.tables])


def _joined(what: str, parts: Sequence[Mapping]) -> dict:
    found: dict = {}
    for part in parts:
        if twice := sorted(found.keys() & part.keys()):
            raise WorkError(f"two evaluators give a {what} of the name {twice[0]!r}")
        found |= part
    return found
