"""Trials of a sweep → the best of them, and a comparison of all."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.sweep import trial
from components.sweep.history import Sweep
from components.sweep.report import report
from components.sweep.trial import Outcome
from elboflow import artifacts
from elboflow.settings import WorkError
from elboflow.settings.text import counted

logger = logging.getLogger("elboflow.sweep")

REPORT, TRIALS = "report.html", "trials.json"


def choose(
    trials: Sequence[Path],
    experiment: Mapping[str, Any],
    axes: Mapping[str, str],
    tracked: Sweep,
    model: Path,
    comparison: Path,
) -> Outcome:
    """Takes the best trial by validation bound: copies its model, writes the comparison, links it in MLflow.

    Args:
        trials: The folders of the trials.
        experiment: The experiment that varied, as `Experiment.recorded()` gives it.
        axes: What varied, as it was asked for: by dotted key.
        tracked: Where the trials are recorded.
        model: The model folder to write.
        comparison: The folder of the comparison to write: `trials.json` and `report.html`.

    Raises:
        WorkError: No trial finished.
    """
    outcomes = {folder_of: trial.read(folder_of) for folder_of in trials}
    best = max(
        (found for found in outcomes if outcomes[found].status == "finished"),
        key=lambda found: max(outcomes[found].elbo),
        default=None,
    )
    chosen = None if best is None else outcomes[best]
    artifacts.withdraw(comparison, "comparison")
    ordered = ranked(list(outcomes.values()))
    rows = [listed(outcome, best=outcome is chosen) for outcome in ordered]
    artifacts.write_atomically(comparison / TRIALS, json.dumps(rows, indent=1) + "\n")
    page = report(str(experiment["name"]), tracked.run, axes, ordered, chosen)
    artifacts.write_atomically(comparison / REPORT, page)
    artifacts.commit(comparison, "comparison", {"format": 2, "run": tracked.run}, [TRIALS, REPORT])
    if best is None or chosen is None:
        reason = f"none of {counted(len(outcomes), 'trial')} finished" + _first_reason(list(outcomes.values()))
        tracked.fail(reason, comparison)
        raise WorkError(reason)
    artifacts.withdraw(model, "model")
    artifacts.copy(best / trial.MODEL, "model", model)
    tracked.choose(chosen, comparison)
    counts = {status: sum(o.status == status for o in outcomes.values()) for status in ("finished", "pruned", "failed")}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    logger.info(
        "the best of %s (%s) has a validation ELBO of %.2f nats: %s",
        counted(len(outcomes), "trial"),
        told,
        chosen.bound,
        " ".join(f"{key}={trial.written(value)}" for key, value in chosen.values.items()),
    )
    return chosen


def listed(outcome: Outcome, best: bool) -> dict[str, Any]:
    """Returns a trial as `trials.json` lists it."""
    values = asdict(outcome)
    curve = values.pop("elbo")  # which its folder has, and MLflow
    return {**values, "bound": outcome.bound, "best_epoch": outcome.best_epoch, "epochs": len(curve), "best": best}


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Returns outcomes, the best bounds first; finished ones before pruned ones before failures."""
    order = {"finished": 0, "pruned": 1, "failed": 2}
    return sorted(outcomes, key=lambda outcome: (order[outcome.status], -max(outcome.elbo, default=-math.inf)))


def _first_reason(outcomes: Sequence[Outcome]) -> str:
    reasons = [outcome.reason for outcome in outcomes if outcome.reason]
    return f"; the first failed because: {reasons[0]}" if reasons else ""
