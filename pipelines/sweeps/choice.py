"""The end of a sweep: which trial is the best, and the experiment that it is of."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from components.sweep.choose import choose as choose_best
from components.sweep.history import Sweep
from pipelines.sweeps.candidates import candidate


class Chosen(NamedTuple):
    """The best candidate: its experiment, as JSON, and its seed."""

    experiment: str
    seed: int


def choose(
    trials: Sequence[Path],
    experiment: str,
    over: str,
    run: str,
    tracking_uri: str,
    model: Path,
    comparison: Path,
) -> Chosen:
    """Takes the best of the trials (`components.sweep.choose`).

    Args:
        trials: The folders of the trials.
        experiment: The experiment that varied, as JSON.
        over: What varied, as it was asked for: by dotted key, as JSON.
        run: The sweep's run name.
        tracking_uri: The MLflow.
        model: The model folder to write.
        comparison: The folder of the comparison to write.

    Raises:
        WorkError: No trial finished.
    """
    varied = json.loads(experiment)
    tracked = Sweep(varied, run, tracking_uri)
    best = choose_best(
        [Path(trial) for trial in trials], varied, json.loads(over), tracked, Path(model), Path(comparison)
    )
    chosen = candidate(varied, best.values)
    return Chosen(json.dumps(chosen.experiment), chosen.seed)


def mounted(root: str) -> Path:
    """Returns the folder of a root in a step: Vertex AI mounts buckets under `/gcs`."""
    return Path(root.replace("gs://", "/gcs/", 1))
