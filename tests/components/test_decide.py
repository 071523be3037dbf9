"""Whether a run would have anything to do, against a real MLflow."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.decide import Change, changed
from components.finish import finish
from components.surroundings.notify import RunEnd
from components.tracking import store
from components.tracking.parameters import config_digest
from elboflow.settings import RequestError
from preprocessing.config import DataConfig
from tests.components.runs import EXPERIMENT, Run, write

pytestmark = pytest.mark.xdist_group("mlflow")

DIGITS = DataConfig.model_validate({"source": "sklearn"})
Written = Callable[..., Run]


def now(experiment: dict[str, Any], tracking_uri: str, data: DataConfig = DIGITS) -> Change:
    return changed(data, experiment, tracking_uri)


def test_without_an_mlflow_there_is_something_to_do_and_none_is_made(tmp_path: Path):
    assert now(EXPERIMENT, f"sqlite:///{tmp_path}/mlflow.db") == Change(True, "no run of digits has succeeded yet")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_mlflow_has_no_success(tracking_uri: str):
    assert now(EXPERIMENT, tracking_uri) == Change(True, "no run of digits has succeeded yet")
    assert store.connect(tracking_uri).get_experiment_by_name("digits") is None


def test_after_a_success_there_is_nothing_to_do(written: Written, values: np.ndarray, tracking_uri: str):
    written("night-1", values).register(tracking_uri)
    found = now(EXPERIMENT, tracking_uri)
    assert not found.changed
    assert re.fullmatch(r"nothing changed since run night-1 of \d{4}-\d\d-\d\d \d\d:\d\d UTC", found.reason)


def test_another_setting_is_named_with_both_values(written: Written, values: np.ndarray, tracking_uri: str):
    written("night-1", values).register(tracking_uri)
    found = now({**EXPERIMENT, "model": {**EXPERIMENT["model"], "latent": 8}}, tracking_uri)
    assert found == Change(True, "the settings changed since run night-1: model.latent 4 → 8")


def test_many_settings_are_counted(written: Written, values: np.ndarray, tracking_uri: str):
    written("night-1", values).register(tracking_uri)
    other = {"name": "digits", "seed": 1, "model": {"latent": 8}, "training": {"epochs": 60}}
    assert now(other, tracking_uri) == Change(
        True,
        "the settings changed since run night-1: seed 0 → 1, model.latent 4 → 8, training.epochs (not set) → 60 "
        "and 2 more",
    )


def test_the_order_of_settings_is_no_setting():
    assert config_digest({"a": 1, "b": {"c": 2, "d": 3}}) == config_digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert config_digest({"a": 1}) != config_digest({"a": 2})


def test_a_source_with_other_content_is_a_change(tmp_path: Path, values: np.ndarray, tracking_uri: str):
    from components.preprocess import preprocess

    def night(seed: int) -> None:
        images = np.random.default_rng(seed).integers(0, 17, (300, 8, 8, 1), np.uint8)
        np.savez(tmp_path / "source.npz", image=images)

    source = {"kind": "npz", "path": str(tmp_path / "source.npz")}
    image = {"kind": "image", "shape": [8, 8, 1], "range": [0, 16]}
    data = DataConfig.model_validate({"source": source, "features": {"image": image}})
    night(1)
    made = preprocess(data, tmp_path / "dataset").manifest
    bounds = np.random.default_rng(0).normal(-30, 5, made.counts["test"])
    run = Run("night-1", tmp_path / "dataset", tmp_path / "run/model", tmp_path / "run/evaluation")
    write(run, bounds, "bernoulli", 0).register(tracking_uri)
    assert not now(EXPERIMENT, tracking_uri, data).changed

    night(2)
    found = now(EXPERIMENT, tracking_uri, data)
    assert found.changed
    assert re.fullmatch(rf"the source changed since run night-1: {made.digest[:12]}… → [0-9a-f]{{12}}…", found.reason)

    (tmp_path / "source.npz").unlink()
    with pytest.raises(RequestError, match=r"source\.npz"):
        now(EXPERIMENT, tracking_uri, data)


def test_only_successes_count(written: Written, values: np.ndarray, tracking_uri: str):
    written("night-1", values).register(tracking_uri)
    other = {**EXPERIMENT, "seed": 1}
    finish(RunEnd("night-2", "digits", "failed", "train", "the loss is not a number"), other, None, tracking_uri)
    assert not now(EXPERIMENT, tracking_uri).changed
    assert now(other, tracking_uri) == Change(True, "the settings changed since run night-1: seed 0 → 1")


def test_it_is_the_last_success_that_counts(written: Written, values: np.ndarray, tracking_uri: str):
    other = {**EXPERIMENT, "seed": 1}
    written("night-1", values).register(tracking_uri)
    written("night-2", values + 1, seed=1).register(tracking_uri)
    assert not now(other, tracking_uri).changed
    assert now(EXPERIMENT, tracking_uri) == Change(True, "the settings changed since run night-2: seed 1 → 0")


@pytest.mark.slow
def test_registering_an_old_run_again_does_not_make_it_the_last(
    written: Written, values: np.ndarray, tracking_uri: str
):
    first = written("night-1", values)
    first.register(tracking_uri)
    other = {**EXPERIMENT, "seed": 1}
    written("night-2", values + 1, seed=1).register(tracking_uri)
    first.register(tracking_uri)
    assert not now(other, tracking_uri).changed


def test_a_run_whose_registration_broke_off_is_no_success(
    written: Written, values: np.ndarray, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
):
    import mlflow

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run = written("night-1", values)
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", stop)
        with pytest.raises(KeyboardInterrupt):
            run.register(tracking_uri)
    assert now(EXPERIMENT, tracking_uri).changed
    run.register(tracking_uri)
    assert not now(EXPERIMENT, tracking_uri).changed


def test_runs_of_others_in_the_same_experiment_do_not_count(written: Written, values: np.ndarray, tracking_uri: str):
    written("night-1", values).register(tracking_uri)
    client = store.connect(tracking_uri)
    by_hand = client.create_run(client.get_experiment_by_name("digits").experiment_id)
    client.set_terminated(by_hand.info.run_id)
    assert not now(EXPERIMENT, tracking_uri).changed


def test_an_experiment_that_was_deleted_is_said_before_anything_runs(
    written: Written, values: np.ndarray, tracking_uri: str
):
    written("night-1", values).register(tracking_uri)
    client = store.connect(tracking_uri)
    client.delete_experiment(client.get_experiment_by_name("digits").experiment_id)
    with pytest.raises(RequestError, match="was deleted in the MLflow"):
        now(EXPERIMENT, tracking_uri)
