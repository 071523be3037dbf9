"""Which version is the champion: the alias moves only to a model that is better on the same test examples.

A paired bootstrap over the distinct examples compares the bounds on log p(x) of newcomer and champion. The champion's
values come from the artifacts of the champion's own MLflow run, and count only where they are of the same examples,
seed and samples as the newcomer's; otherwise the champion's model, from its own version, is rescored on the
newcomer's test split. (Comparing a model with itself is the bug to fear here: a file of the newcomer's taken for the
champion's.)
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.registry import rescoring, versions
from components.registry.finished import Finished
from components.registry.rescoring import Bounds
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


def promote(client: "MlflowClient", version: "ModelVersion", finished: Finished, confidence: float) -> Decision:
    """Decides whether a registered version becomes the champion, and moves the alias if it does.

    A version is decided on once: a second call returns the recorded decision. The writes have an order: the reason,
    then the alias, then the verdict. A call after a kill in between finds the alias on this version, and its reason.

    Args:
        client: MLflow.
        version: The registered version.
        finished: The run that made it, with its evaluation.
        confidence: Of the paired interval that must lie above zero.
    """
    name, number = version.name, version.version
    if PROMOTED in version.tags:
        return Decision(version.tags[PROMOTED] == "true", version.tags[REASON])
    champion = champion_of(client, name)
    if champion is not None and champion.version == number:
        decision = Decision(True, version.tags.get(REASON, "promoted by hand"))
    else:
        decision = decide(client, champion, version, finished, confidence)
        client.set_model_version_tag(name, number, REASON, decision.reason)
        if decision.promoted:
            client.set_registered_model_alias(name, CHAMPION, number)
    client.set_model_version_tag(name, number, PROMOTED, str(decision.promoted).lower())
    return decision


class NotComparableError(Exception):
    """Why newcomer and champion cannot be compared by their bounds."""


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
    confidence: float,
) -> Decision:
    """Decides whether a new version becomes the champion.

    Args:
        client: MLflow.
        champion: The version that is the champion now, another than the newcomer.
        newcomer: The new version.
        finished: What the newcomer's run made.
        confidence: Of the interval of the difference.
    """
    if champion is None:
        return Decision(True, f"no version of {newcomer.name} was the {CHAMPION} when it came")
    if champion.version == newcomer.version:
        raise ValueError(f"version {newcomer.version} of {newcomer.name} would be compared with itself")
    rival = f"version {champion.version}, the {CHAMPION}"
    try:
        with temporary_folder() as temporary:
            comparison = _compared(client, champion, finished, confidence, temporary)
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
    client: "MlflowClient", champion: "ModelVersion", finished: Finished, confidence: float, temporary: Path
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
    newcomer = rescoring.read(finished.evaluated.path / EXAMPLES)
    values = _recorded_bounds(client, champion, finished, newcomer, temporary)
    if values is None:
        logger.info("judging version %s of %s, the %s, on this test split", champion.version, champion.name, CHAMPION)
        values = _rescored_bounds(rival, finished)
    paired = bootstrap.aligned(newcomer.keys, newcomer.log_likelihood, values.keys, values.log_likelihood)
    return bootstrap.paired(*paired, confidence, _RESAMPLES, seed=0)


def _outcome_space(trained: ModelFolder) -> tuple[str, str]:
    """Returns what a model gives probabilities of, in two parts; bounds are comparable if both are equal."""
    modelled = {name: trained.specs[name] for name in trained.config.features}
    values = [f"{name!r} of shape {list(spec.shape)} with {spec.levels} levels" for name, spec in modelled.items()]
    return ", ".join(values), f"the likelihood of {trained.config.outcome_space(trained.specs)}"


def _recorded_bounds(
    client: "MlflowClient", champion: "ModelVersion", finished: Finished, newcomer: Bounds, temporary: Path
) -> Bounds | None:
    """Returns the bounds that the champion's own run recorded, if examples and conditions are the newcomer's."""
    try:
        evaluated = evaluations.load(versions.evaluation_folder(client, champion, temporary))
        values = rescoring.read(evaluated.path / EXAMPLES)
    except WorkError as error:
        logger.warning("the evaluation of version %s, the %s, is not used: %s", champion.version, CHAMPION, error)
        return None
    same_examples = np.array_equal(np.sort(values.keys), np.sort(newcomer.keys))
    return values if same_examples and _conditions(evaluated) == _conditions(finished.evaluated) else None


def _rescored_bounds(rival: ModelFolder, finished: Finished) -> Bounds:
    """Returns the champion's bounds on the newcomer's examples, under the newcomer's conditions."""
    facts = finished.evaluated.facts
    dataset = finished.data.dataset.folder
    try:
        return rescoring.rescore(
            dataset, rival.path, facts.evaluation.bound_samples, facts.seed, facts.evaluation.batch_size
        )
    except WorkError as error:
        raise NotComparableError(str(error)) from error


def _conditions(evaluated: EvaluationFolder) -> tuple[int, int]:
    """Returns seed and number of samples: with model and example, they determine a bound."""
    return evaluated.facts.seed, evaluated.facts.evaluation.bound_samples
