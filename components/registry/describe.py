"""What people read first in MLflow: the note of a run, and the model cards of its version and of the registered model.

Links are relative to the page, because no address serves the MLflow of a workspace until somebody starts it.
"""

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from components.registry.cards import about_model
from components.registry.champion import CHAMPION, champion_of
from components.registry.finished import Finished
from components.registry.versions import LINEAGE
from components.tracking import notes
from components.tracking.notes import escaped
from components.tracking.pages import in_workspace
from elboflow.settings.text import counted
from elboflow.vae.evaluation.folder import METRICS, REPORT
from elboflow.vae.evaluation.metrics import Metric
from elboflow.vae.evaluation.report import Version, described
from elboflow.vae.model import ModelConfig

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_FEATURES = 8
"""How many features a card describes; tables have hundreds."""
_METRICS = 30


def describe(client: "MlflowClient", run: "Run", finished: Finished, version: Version, deciding: str) -> None:
    """Writes the note of a run and the descriptions of its version and model; what a person has edited is kept.

    Args:
        client: MLflow.
        run: The MLflow run; one that has finished is described already.
        finished: What the run made.
        version: The version that it registered, and the decision on it.
        deciding: The metric that decided.
    """
    if run.info.status == "FINISHED":
        return
    notes.set_note(client, run.info.run_id, _note(run, finished, version))
    name, number = version.model, str(version.version)
    card = _card(run, finished, version, deciding)
    verdict = _verdict(version)
    if text := notes.replacement(client.get_model_version(name, number).description, f"{verdict}\n\n{card}"):
        client.update_model_version(name, number, text)
    champion = champion_of(client, name)
    if champion is None or str(champion.version) != number:
        return
    latest = f"{_link(f'version {number}', _version_page(version))}, of the run begun {version.began:%Y-%m-%d %H:%M %Z}"
    text = about_model(version.experiment, latest, version.reason, card)
    if text := notes.replacement(client.get_registered_model(name).description, text):
        client.update_registered_model(name, text)


def _note(run: "Run", finished: Finished, version: Version) -> str:
    files = f"{_run_page(run)}/artifacts"
    links = [
        _link(f"{version.model} version {version.version}", _version_page(version)),
        _link("all versions", f"#/models/{quote(version.model, safe='')}"),
        _link("report", f"{files}/{REPORT}"),
        _link("metrics", f"{files}/{METRICS}"),
        _link("settings", f"{files}/{LINEAGE}/experiment.json"),
        _link("dataset", f"{files}/{LINEAGE}/dataset.json"),
    ]
    metrics = list(finished.evaluated.metrics.items())
    rows = [(metric.title or name, metric.shown[0], _interval(metric), metric.unit) for name, metric in metrics]
    table = notes.table(("test split", "value", "95 % interval", "unit"), rows[:_METRICS])
    left_out = f"\n\nand {counted(len(rows) - _METRICS, 'metric')} more" if len(rows) > _METRICS else ""
    return f"{_verdict(version)}\n\n{' · '.join(links)}\n\n{table}{left_out}"


def _verdict(version: Version) -> str:
    outcome = f"Promoted to {CHAMPION} when it was registered" if version.promoted else "Not promoted"
    return (
        f"{outcome}: {escaped(version.reason)}."  # without signs: tables of versions show the first words as they are
    )


def _card(run: "Run", finished: Finished, version: Version, deciding: str) -> str:
    manifest, trained, evaluated = finished.data.manifest, finished.trained, finished.evaluated
    counts = ", ".join(f"{split} {manifest.counts[split]:,}" for split in ("train", "validation", "test"))
    specs = [f"{escaped(name)} ({described(spec)})" for name, spec in trained.specs.items()]
    left_out = f" and {len(specs) - _FEATURES} more" if len(specs) > _FEATURES else ""
    metric = evaluated.metrics[deciding]
    training = trained.provenance.training
    facts = {
        "Data": f"{escaped(manifest.source.description)}: {counts} examples; digest `{manifest.digest[:16]}`",
        "Features": ", ".join(specs[:_FEATURES]) + left_out,
        "Architecture": f"{_architecture(trained.config)}; {counted(trained.parameters, 'parameter')}",
        "Training": f"{counted(trained.epochs, 'epoch')} on {training.backend} in {training.precision}, the best of "
        f"them {trained.best_epoch}; code {_code(trained.provenance.code)}",
        "Bound" if deciding == "log_likelihood" else "Metric": f"{escaped(metric.title or deciding)} {metric.shown[0]} "
        f"({_interval(metric)}) {metric.unit}, on {counted(evaluated.facts.examples, 'test example')}",
        "Run": _link(version.run, _run_page(run)),
    }
    return "\n".join(f"- **{name}**: {fact}" for name, fact in facts.items())


def _architecture(config: ModelConfig) -> str:
    """Returns the kinds, sizes and widths of a model in a line: `flat, latent 16, encoder mlp [256, 256], …`."""
    parts = [config.kind]
    for name, value in config.model_dump(mode="json", exclude={"kind", "input"}).items():
        if isinstance(value, dict) and "kind" in value:
            widths = [str(nested) for nested in value.values() if nested and isinstance(nested, list)]
            parts.append(" ".join([name, value["kind"], *widths]))
        elif isinstance(value, int | float):
            parts.append(f"{name} {value}")
    return escaped(", ".join(parts))


def _interval(metric: Metric) -> str:
    _, low, high = metric.shown
    return f"{low} … {high}"


def _code(code: str) -> str:
    return escaped(re.sub("[0-9a-f]{40}", lambda commit: commit[0][:12], code))


def _link(text: str, page: str) -> str:
    return f"[{escaped(text)}]({page}{in_workspace()})"


def _version_page(version: Version) -> str:
    return f"#/models/{quote(version.model, safe='')}/versions/{version.version}"


def _run_page(run: "Run") -> str:
    return f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
