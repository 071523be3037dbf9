"""What a doctor finds in the raw data of an experiment, before any run stumbles over it."""

import socket
from pathlib import Path

import numpy as np
import pytest

from pipelines.doctor import checks
from pipelines.experiment import Experiment
from pipelines.targets.checks import Finding, data, on_platform
from preprocessing.config import DataConfig


def looked(path: Path, image: np.ndarray, label: np.ndarray | None = None) -> Finding:
    """Writes an npz and returns what the doctor finds in it."""
    np.savez(path, image=image, label=np.zeros(len(image), int) if label is None else label)
    return data(config(path))


def config(path: Path) -> DataConfig:
    features = {"image": {"kind": "image", "shape": [4, 4, 1], "range": [0, 255]}, "label": "category"}
    return DataConfig.model_validate({"source": {"kind": "npz", "path": str(path)}, "features": features})


def uniform(high: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, high, (50, 4, 4))


def test_data_that_fit_are_well(tmp_path: Path):
    found = looked(tmp_path / "x.npz", uniform(255).round(), np.array(["ape", "bee"] * 25))
    assert (found.state, found.found) == (
        "ok",
        "x.npz: image, label: 50 examples; the first 50 examples fit the experiment",
    )


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (uniform(255), "not all of them whole: write quantise: true at data.features.image"),
        (uniform(300), "write range: ["),
        (uniform(255)[:, :3], "has the shape [3, 4]; data.features.image.shape says [4, 4, 1]"),
        (uniform(255)[:0], "x.npz: image, label: the source is empty"),
        (uniform(255).astype(str), "is text of shape [4, 4]"),
    ],
    ids=["fractions", "outside", "another shape", "nothing", "text"],
)
def test_data_that_cannot_be_preprocessed_are_ill_with_what_to_write(tmp_path: Path, image: np.ndarray, told: str):
    found = looked(tmp_path / "x.npz", image)
    assert found.state == "problem"
    assert told in found.found


def test_a_range_that_is_hardly_used_is_in_doubt(tmp_path: Path):
    found = looked(tmp_path / "x.npz", uniform(1).round())
    assert found.state == "unknown"
    assert (
        found.remedy
        == "of the first examples the values lie between 0 and 1; write range: [0, 1] at data.features.image"
    )


def test_files_that_are_not_there_are_ill(tmp_path: Path):
    assert "nowhere.npz" in data(config(tmp_path / "nowhere.npz")).found


def test_the_data_of_an_experiment_are_looked_at_where_runs_are_local(tmp_path: Path):
    experiment = Experiment.model_validate({"name": "x", "data": config(tmp_path / "x.npz").model_dump()})
    assert "data" in [check.what for check in checks("local", experiment, tmp_path)]
    assert "data" not in [check.what for check in checks("local", None, tmp_path)]


def on(target: str, path: str) -> Finding:
    """Returns what the doctor finds in a source at this path for a platform."""
    described = {
        "vertex": {"project": "project", "location": "europe-west4", "root": "gs://bucket/vae"},
        "kubeflow": {"volumes": [{"claim": "raw", "mount": "/data"}]},
    }[target]
    targets = {target: {"image": "e/image:1", "tracking_uri": "https://mlflow", **described}}
    values = {"name": "x", "data": config(Path("x.npz")).model_dump(), "targets": targets}
    values["data"]["source"]["path"] = path
    return on_platform(Experiment.model_validate(values), "vertex" if target == "vertex" else "kubeflow")


@pytest.mark.parametrize("target", ["vertex", "kubeflow"])
def test_data_that_a_platform_cannot_read_are_ill(target: str):
    found = on(target, "raw/x.npz")
    assert found.state == "problem"
    assert found.found.startswith("data.source.path: raw/x.npz is a path that no step on ")


@pytest.mark.parametrize(("target", "path"), [("vertex", "/gcs/bucket/x.npz"), ("kubeflow", "/data/x.npz")])
def test_data_that_the_steps_alone_can_see_are_unknown(target: str, path: str):
    found = on(target, path)
    assert (found.state, found.remedy) == ("unknown", "look there by hand")
    assert path in found.found


@pytest.mark.slow
def test_a_bucket_that_gives_no_answer_is_ill(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as absent:
        port = absent.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    found = on("vertex", "gs://nowhere-at-all/x.npz")
    assert (found.state, found.found) == ("problem", "gs://nowhere-at-all cannot be reached: Connection refused")
