"""The report of an evaluation: a self-contained HTML file without scripts."""

import base64
import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings.text import counted
from elboflow.vae.evaluation.config import EvaluationConfig
from elboflow.vae.evaluation.evaluators import Figure, Result, Seen

_MINUS = "\N{MINUS SIGN}"
_NAMED = 3  # features in the title


@dataclass(frozen=True)
class Version:
    """The registered version of an evaluated model.

    Attributes:
        experiment: The name of the experiment.
        run: The name of the run.
        began: When the run began, with its time zone.
        model: The name of the registered model.
        version: The number of the version.
        promoted: Whether it became the champion.
        reason: Why, or why not.
    """

    experiment: str
    run: str
    began: datetime
    model: str
    version: int
    promoted: bool
    reason: str


@dataclass(frozen=True)
class Picture:
    """An inlined figure of the report.

    Attributes:
        title: The title above the figure.
        caption: The caption below the figure.
        wide: Whether the figure takes the whole width of the page.
        paper: As of `Figure`.
        source: The image as a data URL; "" for a text.
        text: The text; "" for an image.
    """

    title: str
    caption: str
    wide: bool
    paper: str
    source: str = ""
    text: str = ""


def report(found: Result, distinct: int, seen: Seen, config: EvaluationConfig) -> str:
    """Returns the report as HTML.

    Args:
        found: The merged results of the evaluators.
        distinct: The number of distinct examples.
        seen: The input of the evaluators, with the model, its settings and provenance, and the data.
        config: The settings of the evaluation.
    """
    trained = seen.trained
    # Settings come from a user's file, so everything is escaped.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["minus"] = lambda text: text.replace("-", _MINUS)
    environment.filters["thousands"] = "{:,}".format
    environment.filters["counted"] = counted
    return environment.get_template("report.html").render(
        distinct=distinct,
        metrics=found.metrics,
        pictures=[_picture(figure) for figure in found.figures],
        tables=found.tables,
        units=seen.bounds.posterior_mean.shape[1],
        features=_shortened(trained.config.features),
        likelihood=seen.model.likelihood.kind,
        trained=trained,
        data=seen.data,
        kept_epoch=trained.best_epoch if trained.provenance.training.early_stopping else trained.epochs,
        specs={name: described(spec) for name, spec in trained.specs.items()},
        sections={
            "Model": list(_flat(trained.config.model_dump(mode="json"))),
            "Training": list(_flat(trained.provenance.training.model_dump(mode="json"))),
            "Evaluation": [*_flat(config.model_dump(mode="json")), ("seed", str(seen.seed))],
        },
    )


def of_version(report: str, version: Version) -> str:
    """Returns the report of an evaluation with a head and a title that tell it from those of other versions."""
    verdict = "promoted to champion" if version.promoted else "not promoted"
    title, began = f"{version.model} version {version.version}", f"{version.began:%Y-%m-%d %H:%M %Z}"
    run = f"Run {version.run} of the experiment {version.experiment}, begun {began}."
    reason = f"{version.reason[:1].upper()}{version.reason[1:]}."
    shown = [html.escape(text) for text in (f"{title}: {verdict}", run, reason)]
    head = '<div class="version">\n  <h1>{}</h1>\n  <p class="faint">{}</p>\n  <p>{}</p>\n  </div>'.format(*shown)
    named = html.escape(f"{title} ({verdict}), {version.run}")
    titled = re.sub("<title>.*?</title>", lambda _: f"<title>{named}</title>", report, count=1, flags=re.DOTALL)
    return titled.replace("<header>", f"<header>\n  {head}", 1)


def _picture(figure: Figure) -> Picture:
    if isinstance(figure.content, str):
        return Picture(figure.title, figure.caption, figure.wide, figure.paper, text=figure.content)
    return Picture(figure.title, figure.caption, figure.wide, figure.paper, source=_inlined(figure.content))


def _shortened(features: Sequence[str]) -> str:
    """Returns the names of features, shortened to the first ones if there are many."""
    shown = ", ".join(features[:_NAMED])
    return f"{shown} and {len(features) - _NAMED} more features" if len(features) > _NAMED + 1 else ", ".join(features)


def described(spec: FeatureSpec) -> str:
    """Returns a description of a feature in a line: `8 × 8 × 1, 17 levels`."""
    shape = " × ".join(map(str, spec.shape))
    levels = f"{spec.levels} levels" if spec.levels is not None else "numbers"
    return ", ".join(filter(None, [f"up to {shape}" if spec.ragged else shape, levels]))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields nested settings as (`encoder.hidden`, `[256, 256]`)."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _inlined(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()
