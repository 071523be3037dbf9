"""The evaluation of a trained model: the test examples go in, a self-describing `evaluation/` folder comes out."""

import io
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from elboflow import artifacts
from elboflow.settings.text import counted
from elboflow.vae.config import EvaluationConfig
from elboflow.vae.data import Examples
from elboflow.vae.evaluation import bootstrap, diagnostics, figures, samples
from elboflow.vae.evaluation.bounds import Bounds, bounds
from elboflow.vae.evaluation.diagnostics import Units
from elboflow.vae.evaluation.folder import EXAMPLES, FORMAT, METRICS, REPORT
from elboflow.vae.evaluation.metrics import Metrics
from elboflow.vae.evaluation.report import TestData, report
from elboflow.vae.folder import ModelFolder
from elboflow.vae.model import VAE
from elboflow.vae.training.curves import Curves

logger = logging.getLogger("elboflow.evaluation")

FIGURES = "figures"
_SAMPLES_SHOWN = 64
_RECONSTRUCTIONS_SHOWN = 20
_UNITS_TRAVERSED = 8
_TRAVERSAL = np.linspace(-3.0, 3.0, 7)


def evaluate(
    trained: ModelFolder, examples: Examples, data: TestData, config: EvaluationConfig, seed: int, output: Path
) -> Metrics:
    """Evaluates a model on held-out examples and writes the evaluation folder, whose manifest comes last.

    The same model, examples, settings and seed give the same numbers; two models evaluated with the same seed see the
    same binarised or dequantised examples, in any order.

    Args:
        trained: The model.
        examples: The test split.
        data: Which dataset it is of.
        config: How to evaluate.
        seed: Fixes the noise of each example, the samples shown and the resamples of the intervals.
        output: The folder to write: metrics.json, examples.npz, figures/*.png, report.html, then evaluation.json.

    Returns:
        The metrics.

    Raises:
        WorkError: The examples do not fit the model, there are none, or a bound is not finite.
    """
    started = time.monotonic()
    artifacts.withdraw(output, "evaluation")
    model = trained.model
    per_example = bounds(model, examples, config.bound_samples, seed, config.batch_size)
    units = diagnostics.units(per_example.posterior_mean, per_example.kl_by_unit)
    metrics = measured(per_example, model.spec.dimensions, config.bootstrap_samples, seed)
    pictures = drawn(model, examples, per_example, units, Curves(**trained.curves), data.classes, seed)
    distinct = len(np.unique(examples.keys))
    files = {
        METRICS: (json.dumps(metrics.as_json(), indent=2) + "\n").encode(),
        EXAMPLES: _columns(per_example),
        REPORT: report(metrics, distinct, units, pictures, trained, data, config, seed).encode(),
        **{f"{FIGURES}/{name}.png": picture for name, picture in pictures.items()},
    }
    for name, content in files.items():
        artifacts.write_atomically(output / name, content)
    facts = {
        "format": FORMAT.newest,
        "examples": len(examples),
        "distinct": distinct,
        "seed": seed,
        "evaluation": config.model_dump(mode="json"),
        "data": {"dataset": data.dataset, "counts": dict(data.counts)},
        "weights": trained.weights,
        "metrics": metrics.values(),
    }
    artifacts.commit(output, "evaluation", facts, files)
    logger.info(
        "evaluated %s%s with %s each in %.1f s: ELBO %.2f, log-likelihood at least %.2f nats",
        counted(len(examples), "example"), f" ({distinct:,} distinct)" if distinct < len(examples) else "",
        counted(config.bound_samples, "sample"), time.monotonic() - started, metrics.elbo.value,
        metrics.log_likelihood.value,
    )  # fmt: skip
    return metrics


def measured(per_example: Bounds, dimensions: int, resamples: int, seed: int) -> Metrics:
    """Returns the means over the examples, and the number of active units, with their intervals."""
    columns = (per_example.elbo, per_example.reconstruction, per_example.kl, per_example.log_likelihood)
    elbo, reconstruction, kl, log_likelihood = bootstrap.intervals(
        np.stack(columns, axis=1), per_example.keys, resamples, seed
    )
    return Metrics(
        elbo=elbo,
        reconstruction=reconstruction,
        kl=kl,
        log_likelihood=log_likelihood,
        bits_per_dim=diagnostics.bits_per_dim(log_likelihood, dimensions),
        active_units=bootstrap.active_units(
            per_example.posterior_mean, per_example.keys, diagnostics.ACTIVE_ABOVE, resamples, seed
        ),
    )


def drawn(
    model: VAE,
    examples: Examples,
    per_example: Bounds,
    units: Units,
    curves: Curves,
    classes: Sequence[str] | None,
    seed: int,
) -> dict[str, bytes]:
    """Returns the figures as PNG, by name, in the order in which the report shows them."""
    decode = samples.decoder(model)
    shown = _first_distinct(examples.keys, _RECONSTRUCTIONS_SHOWN)
    originals = examples.images[shown] / (model.spec.levels - 1)
    moved = units.by_kl[:_UNITS_TRAVERSED]
    path = samples.traverse(decode, per_example.posterior_mean[0], moved, _TRAVERSAL)
    return {
        "reconstructions": figures.reconstructions(originals, decode(per_example.posterior_mean[shown])),
        "samples": figures.samples(samples.from_prior(model, decode, _SAMPLES_SHOWN, seed)),
        "latent_map": figures.latent_map(per_example.posterior_mean, examples.labels, classes),
        "traversal": figures.traversal(path, moved, units.kl[moved], _TRAVERSAL),
        "kl_by_unit": figures.kl_by_unit(units),
        "curves": figures.curves(curves),
    }


def _first_distinct(keys: np.ndarray, count: int) -> np.ndarray:
    """Returns the rows of the first `count` examples that are no copies of others before them."""
    return np.sort(np.unique(keys, return_index=True)[1])[:count]


def _columns(per_example: Bounds) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(
        file,
        key=per_example.keys,
        elbo=per_example.elbo,
        reconstruction=per_example.reconstruction,
        kl=per_example.kl,
        log_likelihood=per_example.log_likelihood,
    )
    return file.getvalue()
