"""A dataset folder as the inputs of an MLflow run: one MLflow dataset for each split."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.binding.datasets import ModelDataset
from components.surroundings.masking import masked_values
from components.tracking.limits import LONGEST_DATASET_DIGEST
from elboflow.artifacts.spec import FeatureSpec
from elboflow.vae.evaluation.report import described
from preprocessing.manifest import Manifest

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput
    from mlflow.types import DataType
    from mlflow.types.schema import Array

_FEATURES = 40
"""How many features a profile describes; tables have hundreds."""
_STATISTICS = ("mean", "std", "min", "max", "shortest", "longest", "symbols")


def dataset_inputs(data: ModelDataset, name: str) -> list["DatasetInput"]:
    """Returns the splits train, validation and test as MLflow's inputs, in this order.

    Args:
        data: The dataset.
        name: The experiment's name, with which the names of the MLflow datasets begin.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.types import ColSpec, Schema

    manifest = data.manifest
    # As columns, because MLflow's pages show nothing of a schema of tensors.
    columns = Schema([ColSpec(_type(spec), feature) for feature, spec in manifest.features.items()])
    schema = {"mlflow_colspec": columns.to_dict()}
    inputs = []
    for split, context in {"train": "training", "validation": "validation", "test": "evaluation"}.items():
        dataset = Dataset(
            name=f"{name}-{split}",
            digest=manifest.digest[:LONGEST_DATASET_DIGEST],
            source_type="local",
            source=json.dumps(masked_values({"uri": data.dataset.folder, **manifest.source.model_dump(mode="json")})),
            schema=json.dumps(schema),
            profile=json.dumps(_profile(manifest, split)),
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    return inputs


def _type(spec: FeatureSpec) -> "DataType | Array":
    """Returns what MLflow calls the type of a feature: of a value, or of arrays of arrays."""
    from mlflow.types import DataType
    from mlflow.types.schema import Array

    found = {"uint8": DataType.integer, "int64": DataType.long, "float32": DataType.float}[spec.dtype]
    for _ in spec.shape:
        found = Array(found)
    return found


def _profile(manifest: Manifest, split: str) -> dict[str, int | str]:
    """Returns the numbers of examples and a line for each feature, as the dataset's page in MLflow lists them."""
    profile: dict[str, int | str] = {"num_rows": manifest.counts[split]}
    if manifest.distinct is not None:
        profile["num_distinct"] = manifest.distinct[split]
    for feature, spec in list(manifest.features.items())[:_FEATURES]:
        found = _statistics(spec, manifest.summaries.get(feature, {}).get(split, {}))
        profile[feature] = "; ".join([described(spec), *found])
    if (left_out := len(manifest.features) - _FEATURES) > 0:
        profile["further features"] = left_out
    return profile


def _statistics(spec: FeatureSpec, found: Mapping[str, Any]) -> list[str]:
    """Returns the statistics of the stored values of a feature; those of an image are known of the train split only."""
    named = [f"{name} {found[name]:,.4g}" for name in _STATISTICS if isinstance(found.get(name), int | float)]
    counts = found.get("counts") if spec.role == "class" else None
    of_each = [f"{min(counts.values()):,} to {max(counts.values()):,} of each that occurs"] if counts else []
    return [text for text in (", ".join(named), *of_each) if text]
