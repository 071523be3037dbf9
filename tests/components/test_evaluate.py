"""The step evaluate: what it says of data on which little can be told."""

import logging
from pathlib import Path

import numpy as np
import pytest

from components.evaluate import evaluate
from components.preprocess import preprocess
from preprocessing.config import DataConfig
from tests.components.runs import QUICK_EVALUATION, Run

pytestmark = pytest.mark.xdist_group("tensorflow")


def test_a_test_split_of_few_distinct_examples_and_an_unused_range_are_told_in_log_and_report(
    trained: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = np.random.default_rng(0).integers(0, 2, (30, 8, 8)).repeat(4, axis=0)
    np.savez(tmp_path / "raw.npz", image=image)
    source = {"kind": "npz", "path": str(tmp_path / "raw.npz")}
    features = {"image": {"kind": "image", "shape": [8, 8, 1], "range": [0, 16]}}
    made = preprocess(DataConfig.model_validate({"source": source, "features": features}), tmp_path / "dataset")
    with caplog.at_level(logging.WARNING, "elboflow.evaluation"):
        evaluate(tmp_path / "dataset", trained.model, tmp_path / "evaluation", QUICK_EVALUATION, seed=0)
    counts, distinct = made.manifest.counts, made.manifest.distinct
    assert distinct is not None
    few = f"test split holds {distinct['test']} distinct examples; on fewer than 20 no model is told to be better"
    assert any(few in message for message in caplog.messages)
    report = (tmp_path / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert few in report
    assert f"{counts['test']} held-out test examples" in report
    assert "The train split uses 6.2% of data.features.image.range, [0, 16]" in report
