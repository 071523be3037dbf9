"""The report of an evaluation: one HTML file that needs nothing else, no network and no script."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from elboflow.settings.text import counted
from elboflow.vae.config import EvaluationConfig
from elboflow.vae.evaluation.bootstrap import Estimate
from elboflow.vae.evaluation.diagnostics import ACTIVE_ABOVE, Units
from elboflow.vae.evaluation.metrics import Metrics
from elboflow.vae.folder import ModelFolder

_MINUS = "\N{MINUS SIGN}"

_CAPTIONS = {
    "samples": (
        "Samples",
        "Images that the model makes up: z drawn from the prior, decoded to expected intensities.",
        False,
    ),
    "reconstructions": (
        "Reconstructions",
        "Test examples, and below each what the decoder makes of the mean of its posterior.",
        True,
    ),
    "traversal": (
        "Latent traversal",
        "The first test example, with one latent unit at a time set to the values below; units with most KL first.",
        False,
    ),
    "latent_map": (
        "Latent map",
        "The posterior means of up to 5,000 test examples. The labels were never seen by the model.",
        False,
    ),
    "kl_by_unit": (
        "KL by latent unit",
        "How many nats of each example a unit carries, on average; a unit near 0 tells the decoder nothing.",
        False,
    ),
    "curves": (
        "Training curves",
        "Epoch by epoch; the steep start is cut off. The dotted line marks the best epoch by validation ELBO.",
        True,
    ),
}


@dataclass(frozen=True)
class TestData:
    """What an evaluation says of the data it used.

    Attributes:
        dataset: The digest of the dataset whose test split was evaluated.
        counts: Examples by split.
        distinct: Examples by split, without those whose images are another example's; None where that is not known.
        classes: The name of each class that labels name, by its number; None where classes have no names.
        remarks: What a reader should know of the data, in sentences.
    """

    __test__ = False  # not a test case, as its name makes pytest believe

    dataset: str
    counts: Mapping[str, int]
    distinct: Mapping[str, int] | None = None
    classes: Sequence[str] | None = None
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Headline:
    """One number at the top of the report."""

    name: str
    unit: str
    estimate: Estimate
    decimals: int
    meaning: str


@dataclass(frozen=True)
class Picture:
    """A figure of the report, inlined."""

    title: str
    caption: str
    wide: bool
    source: str


def report(
    metrics: Metrics,
    judged: int,
    units: Units,
    pictures: Mapping[str, bytes],
    trained: ModelFolder,
    data: TestData,
    config: EvaluationConfig,
    seed: int,
) -> str:
    """Returns the report as HTML.

    Args:
        metrics: The headline numbers.
        judged: How many distinct examples they are of.
        units: The latent units.
        pictures: The figures as PNG, by name, in the order to show.
        trained: The model, for its settings and where it comes from.
        data: Which dataset was evaluated on.
        config: How it was evaluated.
        seed: With which seed.
    """
    # Settings come from a person's file and are data: everything is escaped.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    environment.filters["counted"] = counted
    return environment.get_template("report.html").render(
        judged=judged,
        headlines=_headlines(metrics, len(units.kl), config.bound_samples),
        pictures=[Picture(*_CAPTIONS[name], _inlined(picture)) for name, picture in pictures.items()],
        units=[(unit, units.kl[unit], units.variance[unit], units.active[unit]) for unit in units.by_kl],
        most_nats=max(float(units.kl.max()), 1e-9),
        active_above=ACTIVE_ABOVE,
        trained=trained,
        data=data,
        kept_epoch=trained.best_epoch if trained.provenance.training.early_stopping else trained.epochs,
        sections={
            "Model": list(_flat(trained.config.model_dump(mode="json"))),
            "Training": list(_flat(trained.provenance.training.model_dump(mode="json"))),
            "Evaluation": [*_flat(config.model_dump(mode="json")), ("seed", str(seed))],
        },
    )


def number(value: float, decimals: int) -> str:
    """Returns a number for reading: 1,234.50, with a true minus sign."""
    return f"{value:,.{decimals}f}".replace("-", _MINUS)


def _headlines(metrics: Metrics, latent: int, bound_samples: int) -> list[Headline]:
    nats = "nats per example"
    return [
        Headline(
            "log-likelihood bound", nats, metrics.log_likelihood, 2,
            f"How well the model predicts unseen examples: the importance-weighted bound with {bound_samples:,} "
            "samples, the closer of the two bounds. Higher is better; this is what decides between two models.",
        ),
        Headline(
            "ELBO", nats, metrics.elbo, 2,
            f"What training maximised, a looser lower bound of the same: reconstruction {_MINUS} KL. "
            "Its distance from the number before says how far the encoder is from the true posterior.",
        ),
        Headline(
            "reconstruction", nats, metrics.reconstruction, 2,
            "Log-probability of an example, given latents that the encoder draws for it. Higher is better.",
        ),
        Headline(
            "KL", nats, metrics.kl, 2,
            "What the latents tell about an example beyond the prior; near 0, the decoder ignores them.",
        ),
        Headline(
            "bits per dimension", "", metrics.bits_per_dim, 3,
            "The log-likelihood as the size of each value of an optimally compressed image. Lower is better; it "
            "compares only models of the same data with the same kind of likelihood.",
        ),
        Headline(
            "active units", f"of {latent}", metrics.active_units, 0,
            f"Latent units that the encoder uses: the variance of their posterior mean over the examples is above "
            f"{ACTIVE_ABOVE}.",
        ),
    ]  # fmt: skip


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields nested settings as (`encoder.hidden`, `[256, 256]`)."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _inlined(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()
