"""The values of the newcomer and of earlier versions on the same test examples.

The champion's values are read from its evaluation in MLflow, if that used the same examples, seed and settings as the
newcomer's. Otherwise the champion's model is loaded from its version and rescored on the newcomer's test split. (The
bug to fear here is a model that is compared with itself: a file of the newcomer's taken for the champion's.)
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.binding.meanings import difference
from components.registry import rescoring, versions
from components.registry.finished import Finished
from components.registry.rescoring import Values
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import RequestError, WorkError
from elboflow.vae import folder
from elboflow.vae.evaluation import folder as evaluations
from elboflow.vae.evaluation import paired
from elboflow.vae.evaluation.folder import EXAMPLES
from elboflow.vae.folder import ModelFolder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger("elboflow.registry")

_BASELINE = "baseline"


class NotComparableError(Exception):
    """Why newcomer and champion cannot be compared by the values of their examples."""


class SameWeightsError(Exception):
    """Newcomer and champion are the same model."""


@dataclass(frozen=True)
class Rivals:
    """The values of newcomer and champion on the same examples, in the same order.

    Attributes:
        keys: The identities of the examples, int64 `[examples]`.
        newcomer: The newcomer's values, `[examples]`.
        champion: The champion's.
        finished: The run that made the newcomer.
        metric: Name of the metric.
        temporary: A folder for downloads.
    """

    keys: np.ndarray
    newcomer: np.ndarray
    champion: np.ndarray
    finished: Finished
    metric: str
    temporary: Path

    def also(self, name: str, version: int) -> np.ndarray | None:
        """Returns the values of another version on the same examples; None if it cannot be scored on them."""
        logger.info("rescoring version %s of %s, the challenger, on this test split", version, name)
        place = self.temporary / f"v{version}"
        place.mkdir()
        try:
            rival = _comparable(f"models:/{name}/{version}", self.finished, place)
            values = _rescored(rival, self.finished, self.metric)
            return paired.aligned(self.keys, self.newcomer, values.keys, values.of_example)[2]
        except (NotComparableError, SameWeightsError, WorkError) as error:
            logger.warning("version %s of %s, the challenger, cannot be compared: %s", version, name, error)
            return None


@contextlib.contextmanager
def opened(client: "MlflowClient", champion: "ModelVersion", finished: Finished, metric: str) -> Iterator[Rivals]:
    """Yields the values of newcomer and champion; the folder of downloads is removed afterwards.

    Args:
        client: MLflow.
        champion: The champion.
        finished: The run that made the newcomer.
        metric: Name of the metric.

    Raises:
        NotComparableError: They do not model the same, or the champion cannot be used.
        SameWeightsError: They are the same model.
    """
    with temporary_folder() as temporary:
        rival = _comparable(f"models:/{champion.name}/{champion.version}", finished, temporary)
        newcomer = rescoring.read(finished.evaluated.path / EXAMPLES, metric)
        values = _recorded_values(client, champion, finished, newcomer, temporary)
        if values is None:
            logger.info("rescoring version %s of %s, the champion, on this test split", champion.version, champion.name)
            values = _rescored(rival, finished, metric)
        aligned = paired.aligned(newcomer.keys, newcomer.of_example, values.keys, values.of_example)
        yield Rivals(*aligned, finished, metric, temporary)


def without_baseline(finished: Finished, metric: str) -> str | None:
    """Returns why an evaluation has no baseline of a metric; None if it has one."""
    if metric != "log_likelihood":
        return f"only the bound on log p(x) has a baseline, and {metric} decides"
    if _BASELINE not in rescoring.columns(finished.evaluated.path / EXAMPLES):
        return "the evaluation has none"
    return None


@contextlib.contextmanager
def with_baseline(finished: Finished, metric: str) -> Iterator[Rivals]:
    """Yields the values of the newcomer and of the baseline in its evaluation, in the place of a champion's."""
    with temporary_folder() as temporary:
        newcomer, baseline = (rescoring.read(finished.evaluated.path / EXAMPLES, name) for name in (metric, _BASELINE))
        aligned = paired.aligned(newcomer.keys, newcomer.of_example, baseline.keys, baseline.of_example)
        yield Rivals(*aligned, finished, metric, temporary)


def _comparable(uri: str, finished: Finished, temporary: Path) -> ModelFolder:
    root = temporary
    try:
        place = versions.model_folder(uri, temporary)
        root = place.parents[1]
        rival = folder.load(place)
    except (RequestError, WorkError) as error:
        raise NotComparableError(str(error).replace(str(root), uri)) from error  # a copy is gone when this is read
    if rival.weights == finished.trained.weights:
        raise SameWeightsError
    for ours, theirs in zip(_outcome_space(finished.trained), _outcome_space(rival), strict=True):
        if ours != theirs:
            raise NotComparableError(f"it models {ours}, the champion {theirs}")
    for feature in finished.trained.config.features:
        if differs := difference(finished.trained.specs[feature], rival.specs[feature]):
            raise NotComparableError(f"it models {feature!r} of {differs.one}, the champion of {differs.other}")
    return rival


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
        evaluated = evaluations.load(versions.evaluation_folder(client, str(champion.run_id), temporary))
        values = rescoring.read(evaluated.path / EXAMPLES, newcomer.metric)
    except WorkError as error:
        logger.warning("the evaluation of version %s, the champion, is not used: %s", champion.version, error)
        return None
    same_examples = np.array_equal(np.sort(values.keys), np.sort(newcomer.keys))
    return (
        values
        if same_examples and rescoring.conditions(evaluated) == rescoring.conditions(finished.evaluated)
        else None
    )


def _rescored(rival: ModelFolder, finished: Finished, metric: str) -> Values:
    """Returns a version's values on the newcomer's examples, under the newcomer's conditions."""
    facts, dataset = finished.evaluated.facts, finished.data.dataset.folder
    try:
        return rescoring.rescore(dataset, rival.path, facts.evaluation, facts.seed, metric)
    except WorkError as error:
        raise NotComparableError(str(error)) from error
