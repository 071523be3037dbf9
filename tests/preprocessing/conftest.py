"""Datasets that several tests read."""

from pathlib import Path

import pytest

from preprocessing.config import DataConfig
from preprocessing.pipeline import preprocess


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's digits as a dataset of several shards; not to be changed."""
    folder = tmp_path_factory.mktemp("digits") / "dataset"
    preprocess(DataConfig.model_validate({"source": "sklearn", "shards": {"megabytes": 0.1}}), folder)
    return folder
