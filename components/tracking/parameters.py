"""The experiment in an MLflow run: its values as parameters, and their digest as a tag."""

import json
from typing import TYPE_CHECKING, Any

from components.binding.recorded import experiment_digest
from components.surroundings.masking import masked_values
from components.tracking.limits import LONGEST_PARAM, PARAMS_PER_CALL, batches, shortened

if TYPE_CHECKING:
    from mlflow import MlflowClient

_DIGEST = "2:"


def log_params(client: "MlflowClient", run_id: str, experiment: dict[str, Any]) -> None:
    """Writes an experiment's values as the parameters of an MLflow run; without effect when they are there."""
    from mlflow.entities import Param

    values = {name: value for name, value in experiment.items() if name != "tags"}
    params = [Param(name, value) for name, value in flat(masked_values(values)).items()]
    for batch in batches(params, PARAMS_PER_CALL):
        client.log_batch(run_id, params=batch)


def flat(experiment: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns the values of nested sections under dotted names, as MLflow's parameters take them."""
    values: dict[str, str] = {}
    for name, value in experiment.items():
        if isinstance(value, dict) and value:
            values.update(flat(value, f"{prefix}{name}."))
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            values[prefix + name] = shortened(text, LONGEST_PARAM)
    return values


def config_digest(experiment: dict[str, Any]) -> str:
    """Returns what a run's settings are known by: the format of the digest, and the digest."""
    return f"{_DIGEST}{experiment_digest(experiment)}"


def is_older(recorded: str) -> bool:
    """Whether a digest is of a format that counted defaults, so that no other version could compute it."""
    return not recorded.startswith(_DIGEST)
