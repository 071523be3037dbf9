"""A search on Vertex AI: its hyperparameter tuning says which values to try, each trial in a job of its own.

`python -m pipelines.sweeps.tuning` is what the container of a trial runs: Vertex AI adds the values as `--KEY=VALUE`.
It learns the bound from a file that its machines watch, of one JSON object per line, as the package cloudml-hypertune
writes it (github.com/GoogleCloudPlatform/cloudml-hypertune), which would be a dependency for a few lines.
"""

import json
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.sweep.history import Sweep
from components.sweep.recorded_trial import attempt
from components.sweep.trial import Outcome
from elboflow.artifacts import write_atomically
from elboflow.settings import WorkError
from pipelines.experiment import Experiment
from pipelines.step_process.process import step
from pipelines.sweeps.axes import Axis, Range, parse
from pipelines.sweeps.candidates import candidate, mounted

METRIC = "elbo"
_FILE, _TRIAL = "CLOUD_ML_HP_METRIC_FILE", "CLOUD_ML_TRIAL_ID"
_DEFAULT_FILE = "/tmp/hypertune/output.metrics"
_MOST_LINES = 100


@dataclass(frozen=True)
class Trial:
    """What all trials of a tuning job have in common: as `search` of `study.py` is given it."""

    dataset: str
    experiment: dict[str, Any]
    over: dict[str, str]
    run: str
    trials_root: str
    tracking_uri: str


def parameters(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Returns what varies as Vertex AI's `StudySpec.ParameterSpec`."""
    return [{"parameter_id": axis.key, **_specification(axis)} for axis in axes]


def metrics() -> list[dict[str, str]]:
    """Returns what is to be as large as possible as Vertex AI's `StudySpec.MetricSpec`."""
    return [{"metric_id": METRIC, "goal": "MAXIMIZE"}]


def worker_pools(trial: Trial, pool: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the worker pools of a tuning job: one machine, a `WorkerPoolSpec`, whose container is a trial."""
    command = ["python3", "-m", "pipelines.sweeps.tuning", json.dumps(asdict(trial))]
    return [{**pool, "container_spec": {**pool["container_spec"], "command": command}}]


def main(arguments: Sequence[str]) -> None:
    """Tries the values that Vertex AI gives: the process of a trial's container, whose failure marks them as bad."""
    with step():
        trial = Trial(**json.loads(arguments[0]))
        outcome = _tried(trial, dict(argument.removeprefix("--").split("=", 1) for argument in arguments[1:]))
        if outcome.status == "failed":
            raise WorkError(outcome.reason)


def _tried(trial: Trial, given: Mapping[str, str]) -> Outcome:
    axes = parse([f"{key}={text}" for key, text in trial.over.items()], Experiment.model_validate(trial.experiment))
    new = candidate(trial.experiment, {axis.key: _value(axis, given[axis.key]) for axis in axes})
    tracked = Sweep(trial.experiment, trial.run, trial.tracking_uri)
    report = _Reported()
    outcome = attempt(trial.dataset, new, mounted(trial.trials_root) / new.digest, tracked, report)
    for epoch, elbo in enumerate(outcome.elbo, 1):  # of a trial that was kept
        report(epoch, elbo)
    logging.getLogger("elboflow.sweep").info("%s: %s", new, outcome)
    return outcome


class _Reported:
    """A watch that reports every epoch once, and lets the training go on: to stop it is Vertex AI's."""

    def __init__(self) -> None:
        self._path = Path(os.environ.get(_FILE, _DEFAULT_FILE))
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)
        self._epoch = 0

    def __call__(self, epoch: int, elbo: float) -> bool:
        if epoch > self._epoch:
            self._epoch = epoch
            told = {
                "timestamp": time.time(),
                "trial": os.environ.get(_TRIAL, "0"),
                METRIC: str(elbo),
                "global_step": str(epoch),
                "checkpoint_path": "",
            }
            self._lines.append(json.dumps(told) + "\n")
            write_atomically(self._path, "".join(self._lines))
        return True


def _specification(axis: Axis) -> dict[str, Any]:
    if not isinstance(axis, Range):
        return {"categorical_value_spec": {"values": [json.dumps(value) for value in axis.values]}}
    kind = "integer_value_spec" if axis.whole else "double_value_spec"
    scale = "UNIT_LOG_SCALE" if axis.log else "UNIT_LINEAR_SCALE"
    return {kind: {"min_value": axis.low, "max_value": axis.high}, "scale_type": scale}


def _value(axis: Axis, text: str) -> Any:
    if not isinstance(axis, Range):
        return json.loads(text)
    return round(float(text)) if axis.whole else float(text)


if __name__ == "__main__":
    main(sys.argv[1:])
