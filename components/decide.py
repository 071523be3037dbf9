"""Whether a run would have anything to do: are data and settings those of the last run that succeeded?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.surroundings.masking import masked_values
from components.tracking import databases, store, tags
from components.tracking.parameters import config_digest, flat, is_older
from elboflow.settings.explain import shown
from preprocessing.config import DataConfig

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_SHOWN_SETTINGS = 3
_SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Change:
    """Whether anything changed, and what, in a sentence."""

    changed: bool
    reason: str


def changed(data: DataConfig, experiment: dict[str, Any], tracking_uri: str) -> Change:
    """Compares what a run would start from with what the last run that succeeded started from.

    Success is a run that registered its model; runs that failed or were cancelled since then do not count. Nothing is
    written, and no MLflow is made where there is none yet.

    Args:
        data: The section `data`, of which the source is read for its fingerprint.
        experiment: What `Experiment.recorded()` returns.
        tracking_uri: The MLflow that holds the runs.

    Raises:
        RequestError: A file of the source does not exist, or the experiment was deleted in MLflow.
        WorkError: MLflow cannot be used.
    """
    last = _last_success(experiment["name"], tracking_uri)
    if last is None:
        return Change(True, f"no run of {experiment['name']} has succeeded yet")
    from preprocessing.pipeline import dataset_digests

    return _compared(last, dataset_digests(data), experiment)


def _last_success(name: str, tracking_uri: str) -> "Run | None":
    database = databases.file_of(tracking_uri)
    if database is not None and not database.exists():
        return None
    client = store.connect(tracking_uri)
    with store.explained(tracking_uri):
        where = store.experiments_with(client, tracking_uri, name)
        return _finished_last(client, where, name) if where else None


def _finished_last(client: "MlflowClient", experiments: list[str], name: str) -> "Run | None":
    # What else lies in the experiments, such as a sweep's parent run or other experiments' runs, has no such tags.
    registered = f"attributes.status = 'FINISHED' and tags.`{tags.RUN}` != '' and tags.`{tags.DATASET}` != ''"
    ours = f"{registered} and tags.`{tags.EXPERIMENT}` = {store.quoted(name)}"
    found = client.search_runs(experiments, ours, max_results=1, order_by=["attributes.end_time DESC"])
    return found[0] if found else None


def _compared(last: "Run", digests: Sequence[str], experiment: dict[str, Any]) -> Change:
    recorded = last.data.tags
    run = recorded[tags.RUN]
    reasons = []
    before, params = recorded.get(tags.CONFIG, ""), last.data.params
    same_settings = before == config_digest(experiment)
    differences = [] if same_settings else _differences(params, flat(masked_values(experiment)))
    if not same_settings and is_older(before):  # settings that did not exist then have their defaults, or it was edited
        differences = [(name, change) for name, change in differences if name in params]
        same_settings = not differences
    if not same_settings:
        reasons.append(f"the settings changed since run {run}" + (f": {_listed(differences)}" if differences else ""))
    # The digest of a dataset is that of the source and of how it is prepared.
    if recorded[tags.DATASET] not in digests and not any(name.startswith("data.") for name, _ in differences):
        reasons.append(f"the source changed since run {run}: {_short(recorded[tags.DATASET])} → {_short(digests[0])}")
    if reasons:
        return Change(True, "; ".join(reasons))
    ended = datetime.fromtimestamp((last.info.end_time or last.info.start_time) / 1000, UTC)
    return Change(False, f"nothing changed since run {run} of {ended:%Y-%m-%d %H:%M} UTC")


def _differences(before: dict[str, str], now: dict[str, str]) -> list[tuple[str, str]]:
    """Returns what differs between the recorded parameters and those of now, as (name, `50 → 60`)."""
    names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    return [(name, f"{_value(before.get(name))} → {_value(now.get(name))}") for name in names]


def _listed(differences: list[tuple[str, str]]) -> str:
    listed = ", ".join(f"{name} {change}" for name, change in differences[:_SHOWN_SETTINGS])
    more = len(differences) - _SHOWN_SETTINGS
    return listed + (f" and {more} more" if more > 0 else "")


def _value(value: str | None) -> str:
    return "(not set)" if value is None else shown(value).strip("'")


def _short(digest: str) -> str:
    return f"{digest[:_SHOWN_DIGITS]}…"
