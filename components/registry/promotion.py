"""Which version is the champion: the alias moves only to a model that is better on the same test examples.

A paired test compares newcomer and champion by `registry.decides_by`, a metric of the evaluation: by default the bound
on log p(x). Its level is a share of `registry.error_budget`, so that all promotions together hold it
(`components.registry.decisions`). Every decision is a line of the registered model's history, with the values by which
it was made. The alias and the tags of a version follow the history: after a kill, the next call sets them again.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.config import RegistryConfig
from components.registry import champion as champions
from components.registry import outcomes, rescoring
from components.registry.champion import PROMOTED, REASON, champion_of
from components.registry.decisions import standing
from components.registry.decisions.history import History, open_history, packed
from components.registry.decisions.record import Event, Rule, Source, digest
from components.registry.finished import Finished
from components.surroundings.code_version import code_version
from components.tracking import tags
from elboflow.settings import RequestError
from elboflow.vae.evaluation.folder import EXAMPLES, EvaluationFolder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger("elboflow.registry")


@dataclass(frozen=True)
class Decision:
    """Whether a newcomer becomes the champion, and why, in a sentence with numbers."""

    promoted: bool
    reason: str


def promote(client: "MlflowClient", version: "ModelVersion", finished: Finished, registry: RegistryConfig) -> Decision:
    """Decides whether a registered version becomes the champion, and moves the alias if it does.

    A version is decided on once: a second call returns the recorded decision. The writes have an order: the
    history, the reason, the alias, the verdict. A call after a kill in between does what is left.

    Args:
        client: MLflow.
        version: The registered version.
        finished: The run that made it, with its evaluation.
        registry: Which metric decides, and by what rule.

    Raises:
        WorkError: The history is damaged, or another registration was decided on at the same time.
    """
    if PROMOTED in version.tags:
        return Decision(version.tags[PROMOTED] == "true", version.tags[REASON])
    number = int(version.version)
    history = open_history(client, str(client.tracking_uri), version.name)
    if (event := history.of(number, version.run_id)) is None:
        champions.finish_interrupted(history)
        alias = champion_of(client, version.name)
        if seen := champions.found_elsewhere(history, None if alias is None else int(alias.version)):
            history = champions.record_seen(history, seen)
        if history.champion != number:
            history = _decided(history, alias, version, finished, registry)
        event = history.events[-1]
    champions.move_alias(history, event)
    return Decision(event.champion == number, event.reason)


def check_decides(metric: str, evaluated: EvaluationFolder) -> None:
    """Checks that a metric can decide: it has a value for each example, and a direction that is better.

    Raises:
        RequestError: It cannot; the message lists those that can.
    """
    columns = rescoring.columns(evaluated.path / EXAMPLES)
    deciding = [name for name, found in evaluated.metrics.items() if found.better is not None and name in columns]
    if metric not in deciding:
        raise RequestError(
            f"registry.decides_by: {metric!r} is no metric of this evaluation that has a value for each example and a "
            f"better direction; those that have are {', '.join(deciding)}"
        )


def _decided(
    history: History,
    champion: "ModelVersion | None",
    newcomer: "ModelVersion",
    finished: Finished,
    registry: RegistryConfig,
) -> History:
    metric = finished.evaluated.metrics[registry.decides_by]
    rule = Rule(
        metric=registry.decides_by,
        better=metric.better or "higher",
        unit=metric.unit.removesuffix(" per example"),
        confidence=registry.confidence,
        error_budget=registry.error_budget,
        guard=registry.guard,
    )
    version = int(newcomer.version)
    outcome = outcomes.outcome(history, champion, version, finished, rule, registry)
    values = None if outcome.values is None else packed(outcome.values)
    event = Event(
        number=len(history.events) + 1,
        kind="decision",
        at=datetime.now(UTC),
        code=code_version(),
        version=version,
        before=history.champion,
        champion=outcome.champion,
        challenger=outcome.challenger,
        reason=outcome.reason,
        source=_source(newcomer, finished, registry.decides_by),
        rule=rule,
        looks=outcome.looks,
        guarded=outcome.guarded,
        repeats=outcome.repeats,
        veto=outcome.veto,
        values=None if values is None else digest(values),
        left_out=outcome.left_out,
        previous=history.last,
    )
    spent = standing.spent((*history.events, event))
    return history.with_event(event, values, {"bound": metric.value, "error_budget_spent": spent})


def _source(version: "ModelVersion", finished: Finished, metric: str) -> Source:
    return Source(
        run=version.tags.get(tags.RUN),
        mlflow_run=version.run_id,
        dataset=finished.data.manifest.digest,
        config=version.tags.get(tags.CONFIG),
        code=finished.trained.provenance.code,
        weights=finished.trained.weights,
        evaluation=digest((finished.evaluated.path / "evaluation.json").read_bytes()),
        value=finished.evaluated.metrics[metric].value,
    )
