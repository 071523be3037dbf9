"""Which version is the champion: the alias moves only to a model that is better on the same test examples.

A paired bootstrap over the distinct examples compares newcomer and champion by `registry.decides_by`, a metric of the
evaluation: by default the bound on log p(x). The champion's values come from the artifacts of the champion's own MLflow
run, and count only where they are of the same examples, seed and settings as the newcomer's; otherwise the champion's
model, from its own version, is rescored on the newcomer's test split. (Comparing a model with itself is the bug to fear
here: a file of the newcomer's taken for the champion's.)
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.binding.meanings import difference
from components.config import RegistryConfig
from components.registry import rescoring, versions
from components.registry.finished import Finished
from components.registry.rescoring import Values
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import RequestError, WorkError
from elboflow.vae import folder
from elboflow.vae.evaluation import bootstrap
from elboflow.vae.evaluation import folder as evaluations
from elboflow.vae.evaluation.folder import EXAMPLES, EvaluationFolder
from elboflow.vae.folder import ModelFolder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger("elboflow.registry")

CHAMPION = "champion"
PROMOTED, REASON = "elboflow.promoted", "elboflow.reason"
"""The tags of a version that hold the verdict, `true` or `false`, and the reason for it."""
_RESAMPLES = 10_000


@dataclass(frozen=True)
class Decision:
    """Whether a newcomer becomes the champion, and why, in a sentence with numbers."""

    promoted: bool
    reason: str


def promote(client: "MlflowClient", version: "ModelVersion", finished: Finished, registry: RegistryConfig) -> Decision:
    """Decides whether a registered version becomes the champion, and moves the alias if it does.

    A version is decided on once: a second call returns the recorded decision. The writes have an order: the reason,
    then the alias, then the verdict. A call after a kill in between finds the alias on this version, and its reason.

    Args:
        client: MLflow.
        version: The registered version.
        finished: The run that made it, with its evaluation.
        registry: Which metric decides, and the confidence of the paired interval that must lie above zero.
    """
    name, number = version.name, version.version
    if PROMOTED in version.tags:
        return Decision(version.tags[PROMOTED] == "true", version.tags[REASON])
    champion = champion_of(client, name)
    if champion is not None and champion.version == number:
        decision = Decision(True, version.tags.get(REASON, "promoted by hand"))
    else:
        decision = decide(client, champion, version, finished, registry)
        client.set_model_version_tag(name, number, REASON, decision.reason)
        if decision.promoted:
            client.set_registered_model_alias(name, CHAMPION, number)
    client.set_model_version_tag(name, number, PROMOTED, str(decision.promoted).lower())
    return decision


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


class NotComparableError(Exception):
    """Why newcomer and champion cannot be compared by the values of their examples."""


class SameWeightsError(Exception):
    """Newcomer and champion are the same model."""


def champion_of(client: "MlflowClient", name: str) -> "ModelVersion | None":
    """Returns the version of a registered model that has the alias `champion`, or None."""
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if version is None else client.get_model_version(name, str(version))


def decide(
    client: "MlflowClient",
    champion: "ModelVersion | None",
    newcomer: "ModelVersion",
    finished: Finished,
    registry: RegistryConfig,
) -> Decision:
    """Decides whether a new version becomes the champion.

    Args:
        client: MLflow.
        champion: The version that is the champion now, another than the newcomer.
        newcomer: The new version.
        finished: What the newcomer's run made.
        registry: Which metric decides, and the confidence of the interval of the difference.
    """
    if champion is None:
        return Decision(True, f"no version of {newcomer.name} was the {CHAMPION} when it came")
    if champion.version == newcomer.version:
        raise ValueError(f"version {newcomer.version} of {newcomer.name} would be compared with itself")
    rival = f"version {champion.version}, the {CHAMPION}"
    try:
        with temporary_folder() as temporary:
            comparison = _compared(client, champion, finished, registry, temporary)
    except NotComparableError as difference:
        return Decision(
            False,
            f"cannot be compared with {rival}: {difference}; to promote it all the same, set the alias {CHAMPION!r} to "
            f"version {newcomer.version} by hand, in the MLflow UI",
        )
    except SameWeightsError:
        return Decision(False, f"has the same weights as {rival}")
    if comparison.better:
        return Decision(True, f"better than {rival}: {comparison}")
    return Decision(False, f"{'worse than' if comparison.high < 0 else 'not surely better than'} {rival}: {comparison}")


def _compared(
    client: "MlflowClient", champion: "ModelVersion", finished: Finished, registry: RegistryConfig, temporary: Path
) -> bootstrap.Comparison:
    uri = f"models:/{champion.name}/{champion.version}"
    try:
        rival = folder.load(versions.model_folder(uri, temporary))
    except (RequestError, WorkError) as error:
        raise NotComparableError(str(error).replace(str(temporary), uri)) from error  # the copy is gone when it is read
    if rival.weights == finished.trained.weights:
        raise SameWeightsError
    for ours, theirs in zip(_outcome_space(finished.trained), _outcome_space(rival), strict=True):
        if ours != theirs:
            raise NotComparableError(f"it models {ours}, the champion {theirs}")
    for feature in finished.trained.config.features:
        if differs := difference(finished.trained.specs[feature], rival.specs[feature]):
            raise NotComparableError(f"it models {feature!r} of {differs.one}, the champion of {differs.other}")
    metric = registry.decides_by
    newcomer = rescoring.read(finished.evaluated.path / EXAMPLES, metric)
    values = _recorded_values(client, champion, finished, newcomer, temporary)
    if values is None:
        logger.info("rescoring version %s of %s, the %s, on this test split", champion.version, champion.name, CHAMPION)
        values = _rescored(rival, finished, metric)
    decides = finished.evaluated.metrics[metric]
    sign = -1 if decides.better == "lower" else 1
    paired = bootstrap.aligned(newcomer.keys, sign * newcomer.of_example, values.keys, sign * values.of_example)
    found = bootstrap.paired(*paired, registry.confidence, _RESAMPLES, seed=0)
    return replace(found, unit=decides.unit.removesuffix(" per example"))


def _outcome_space(trained: ModelFolder) -> tuple[str, str]:
    """Returns what a model gives probabilities of, in two parts; bounds are comparable if both are equal."""
    modelled = {name: trained.specs[name] for name in trained.config.features}
    values = [f"{name!r} of shape {list(spec.shape)} with {spec.levels} levels" for name, spec in modelled.items()]
    return ", ".join(values), f"the likelihood of {trained.config.outcome_space(trained.specs)}"


def _recorded_values(
    client: "MlflowClient", champion: "ModelVersion", finished: Finished, newcomer: Values, temporary: Path
) -> Values | None:
    """Returns the values that the champion's own run recorded, if examples and conditions are the newcomer's."""
    try:
        evaluated = evaluations.load(versions.evaluation_folder(client, champion, temporary))
        values = rescoring.read(evaluated.path / EXAMPLES, newcomer.metric)
    except WorkError as error:
        logger.warning("the evaluation of version %s, the %s, is not used: %s", champion.version, CHAMPION, error)
        return None
    same_examples = np.array_equal(np.sort(values.keys), np.sort(newcomer.keys))
    return values if same_examples and _conditions(evaluated) == _conditions(finished.evaluated) else None


def _rescored(rival: ModelFolder, finished: Finished, metric: str) -> Values:
    """Returns the champion's values on the newcomer's examples, under the newcomer's conditions."""
    facts, dataset = finished.evaluated.facts, finished.data.dataset.folder
    try:
        return rescoring.rescore(dataset, rival.path, facts.evaluation, facts.seed, metric)
    except WorkError as error:
        raise NotComparableError(str(error)) from error


def _conditions(evaluated: EvaluationFolder) -> tuple[int, dict[str, Any]]:
    """Returns what determines the value of an example besides the model: the seed and the evaluation's settings."""
    unrelated = {"batch_size", "bootstrap_samples"}
    return evaluated.facts.seed, evaluated.facts.evaluation.model_dump(mode="json", exclude=unrelated)
