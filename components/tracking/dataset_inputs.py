"""A dataset folder as the inputs of an MLflow run: one MLflow dataset for each split."""

import json
from typing import TYPE_CHECKING

import numpy as np

from components.binding.datasets import ModelDataset
from components.surroundings.masking import masked_values
from components.tracking.limits import LONGEST_DATASET_DIGEST
from preprocessing.manifest import Manifest

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput


def dataset_inputs(data: ModelDataset, name: str) -> list["DatasetInput"]:
    """Returns the splits train, validation and test as MLflow's inputs, in this order.

    Args:
        data: The dataset.
        name: The experiment's name, with which the names of the MLflow datasets begin.
    """
    from mlflow.data.schema import TensorDatasetSchema
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.types import Schema, TensorSpec

    manifest = data.manifest
    features = [
        TensorSpec(np.dtype(spec.dtype), (-1, *([-1, *spec.shape[1:]] if spec.ragged else spec.shape)), name=feature)
        for feature, spec in manifest.features.items()
    ]
    schema = TensorDatasetSchema(Schema(features)).to_dict()
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


def _profile(manifest: Manifest, split: str) -> dict[str, int]:
    rows = {"num_rows": manifest.counts[split]}
    return rows if manifest.distinct is None else {**rows, "num_distinct": manifest.distinct[split]}
