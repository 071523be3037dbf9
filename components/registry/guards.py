"""The guarded classes of test examples (`registry.guard`), and the check that a dataset has them."""

import logging
from collections.abc import Sequence

import numpy as np

from components.config import Guard
from components.registry.decisions.tables import names_column, slice_column
from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError
from preprocessing.reader import Dataset
from preprocessing.records import KEY

logger = logging.getLogger("elboflow.registry")


def check(guards: Sequence[Guard], dataset: Dataset) -> None:
    """Checks that the guarded features are categories of a dataset. A guarded class that it lacks is a warning.

    Raises:
        RequestError: They are not, or a class is given by a name where classes are numbers.
    """
    for number, guard in enumerate(guards):
        spec = dataset.manifest.features.get(guard.feature)
        if spec is None or spec.role != "class":
            found = ", ".join(f"{name!r} is of kind {spec.kind}" for name, spec in dataset.manifest.features.items())
            raise RequestError(
                f"registry.guard.{number}.feature: {guard.feature!r} is no category of the dataset; there {found}"
            )
        _codes(guard, spec, number)


def slices(guards: Sequence[Guard], dataset: Dataset, keys: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the guarded class of each test example, int64 `[examples]`, by column; -1 for examples of no such class.

    The names of the classes, where they have names, are a column, too: another dataset may number them otherwise.

    Args:
        guards: The guards.
        dataset: The dataset.
        keys: The identities of the test examples, sorted, `[examples]`.
    """
    if not guards:
        return {}
    names = {KEY, *(guard.feature for guard in guards)}
    shards = (dataset.read_shard("test", number) for number in range(len(dataset.shards("test"))))
    parts = [{name: part[name] for name in names} for part in shards]  # a split may not fit into memory
    order = np.argsort(np.concatenate([part[KEY] for part in parts]), kind="stable")
    found = {}
    for number, guard in enumerate(guards):
        spec = dataset.manifest.features[guard.feature]
        classes = np.concatenate([part[guard.feature] for part in parts]).reshape(-1)[order].astype(np.int64)
        wanted = _codes(guard, spec, number)
        found[slice_column(guard.feature)] = (
            classes if wanted is None else np.where(np.isin(classes, wanted), classes, -1)
        )
        assert len(classes) == len(keys)
        if names_of_classes := spec.facts.get("names"):
            found[names_column(guard.feature)] = np.array(names_of_classes, np.str_)
    return found


def _codes(guard: Guard, spec: FeatureSpec, number: int) -> list[int] | None:
    """Returns the guarded classes as the dataset stores them; None for all."""
    if guard.values is None:
        return None
    key, names = f"registry.guard.{number}.values", spec.facts.get("names")
    if names is None:
        if words := [value for value in guard.values if not isinstance(value, int)]:
            raise RequestError(f"{key}: the classes of {guard.feature!r} are whole numbers; {words[0]!r} is none")
        return [int(value) for value in guard.values]
    there = [value for value in guard.values if str(value) in names]
    if absent := [str(value) for value in guard.values if value not in there]:
        have = ", ".join(names)
        logger.warning("%s: no class %s is in this dataset, which has %s", key, " or ".join(absent), have)
    return [names.index(str(value)) for value in there]
