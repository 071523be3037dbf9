"""A user's own package adds one kind of everything, and one experiment uses them all: nothing is edited for it."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from elboflow.settings import RequestError
from tests import packages
from tests.stranger.wind_data import Direction

ROOT = Path(__file__).parents[1]
POINTS = {
    "elboflow.features": {"direction": "wind_data:Direction"},
    "elboflow.sources": {"stations": "wind_data:Stations"},
    "elboflow.evaluators": {"steadiness": "wind_data:Steadiness"},
    "elboflow.likelihoods": {"wrapped_cauchy": "wind_models:WrappedCauchy"},
    "elboflow.networks": {"skip": "wind_models:Skip"},
    "elboflow.priors": {"mixture": "wind_models:Mixture"},
    "elboflow.objectives": {"iwae": "wind_models:ImportanceWeighted"},
    "elboflow.models": {"two_layers": "wind_models:TwoLayers"},
}
EXPERIMENT = """
name: wind
data:
  source: {kind: stations, hours: 600}
  features: {wind: {kind: direction, stations: 6}}
model:
  kind: two_layers
  input: wind
  network: {kind: skip, width: 16}
  likelihood: wrapped_cauchy
  prior: {kind: mixture, count: 2}
  objective: {kind: iwae, k: 3}
training: {epochs: 4, batch_size: 32, learning_rate: 0.01}
evaluation: {bound_samples: 20, bootstrap_samples: 200, evaluators: [steadiness]}
registry: {decides_by: steadiness, canary: false, baseline: false}
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installed distribution."""
    folder = tmp_path_factory.mktemp("site")
    modules = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tests/stranger").glob("wind_*.py")}
    packages.install(folder, "wind-vanes", modules, POINTS)
    return folder


def elboflow(*words: str, package: Path | None, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the command line, with the package or without."""
    path = os.pathsep.join(map(str, filter(None, (ROOT, package))))
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        encoding="utf-8",
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_one_experiment_uses_a_kind_of_everything_from_another_package(
    backend: str, package: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    (tmp_path / "wind.yaml").write_text(EXPERIMENT, encoding="utf-8")
    run = elboflow(
        "run", "wind.yaml", "--set", f"training.backend={backend}", "--json", package=package, folder=tmp_path
    )
    assert run.returncode == 0, run.stderr
    done = json.loads(run.stdout)
    assert 0 < done["metrics"]["steadiness"] < 1
    assert done["metrics"]["elbo"] <= done["metrics"]["log_likelihood"]
    evaluation = Path(done["evaluation"])
    assert (evaluation / "figures/steadiness.png").stat().st_size > 1000
    assert "Mean resultant length." in (evaluation / "report.html").read_text(encoding="utf-8")
    with np.load(evaluation / "examples.npz", allow_pickle=False) as columns:
        assert columns["steadiness"].shape == columns["log_likelihood"].shape
    model = json.loads((Path(done["model"]) / "model.json").read_text(encoding="utf-8"))
    assert model["provenance"]["kinds"] == {
        f"{group}:{name}": "wind-vanes 1.2.3"
        for group in (
            "elboflow.features",
            "elboflow.models",
            "elboflow.likelihoods",
            "elboflow.networks",
            "elboflow.priors",
            "elboflow.objectives",
        )
        for name in POINTS[group]
    }
    made = elboflow("generate", done["model"], "--n", "3", "--output", "made.npz", package=package, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    with np.load(tmp_path / "made.npz", allow_pickle=False) as values:
        assert values["wind"].shape == (3, 6)
    refused = elboflow("generate", done["model"], "--output", "made.npz", package=None, folder=tmp_path)
    assert refused.returncode == 1
    assert "unknown kind 'two_layers'" in refused.stderr
    assert "is not installed here" in refused.stderr
    curves = json.loads((Path(done["model"]) / "curves.json").read_text(encoding="utf-8"))
    assert {"iwae", "kl_1", "kl_2"} <= curves["train"].keys()
    workspace = tmp_path / "elboflow-workspace"
    recorded = only_run(workspace / "mlflow.db")
    assert json.loads(recorded.tags["elboflow.kinds"]) == {
        f"{group}:{name}": "wind-vanes 1.2.3" for group, points in POINTS.items() for name in points
    }
    assert recorded.metrics["test/steadiness"] == done["metrics"]["steadiness"]
    (requirements,) = (workspace / "mlartifacts").rglob("requirements.txt")
    assert "wind-vanes==1.2.3" in requirements.read_text(encoding="utf-8").splitlines()


@pytest.mark.slow
def test_a_metric_from_another_package_decides_between_newcomer_and_champion(package: Path, tmp_path: Path) -> None:
    (tmp_path / "wind.yaml").write_text(EXPERIMENT, encoding="utf-8")
    for seed in ("seed=0", "seed=1"):
        words = "--set", seed, "--set", "training.epochs=1"
        run = elboflow("run", "wind.yaml", *words, package=package, folder=tmp_path)
        assert run.returncode == 0, run.stderr
    assert re.search(r"^ steadiness +0\.\d+ +0\.\d+ … 0\.\d+ *$", run.stderr, re.MULTILINE)
    assert "rescoring version 1 of wind-vae, the champion, on this test split" in run.stderr
    assert re.search(r"version 1, the champion: [+-]\d\.\d+ of 1, 95% interval", run.stderr)  # its unit is "of 1"


def only_run(database: Path) -> Any:
    """Returns tags and metrics of the only run."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{database}")
    (run,) = client.search_runs([client.get_experiment_by_name("wind").experiment_id])
    return run.data


def test_a_kind_that_is_not_installed_is_an_error_that_lists_those_that_are(package: Path, tmp_path: Path) -> None:
    (tmp_path / "wind.yaml").write_text(EXPERIMENT, encoding="utf-8")
    run = elboflow("run", "wind.yaml", package=None, folder=tmp_path)
    assert run.returncode == 2
    assert "data.source: unknown kind 'stations'; allowed: csv, " in run.stderr
    assert "model: unknown kind 'two_layers'; allowed: flat" in run.stderr


def test_a_client_gives_and_gets_degrees_whatever_is_stored() -> None:
    spec = Direction(stations=2).planned
    degrees = np.array([[0.0, 90.0], [270.0, 359.5]], np.float32)
    stored = Direction.stored("wind", spec, degrees.tolist())
    assert stored["wind"].tolist()[0] == [0.0, 0.25]
    np.testing.assert_allclose(Direction.raw("wind", spec, stored), degrees, rtol=1e-6)
    values = Direction(stations=2).read(pa.array(list(degrees)), "wind")
    identity = Direction(stations=2).identity(values)
    assert Direction.identity_of("wind", spec, degrees.tolist(), stored).tolist() == identity.tolist()
    for wrong in (-1, 360, float("nan"), None):
        with pytest.raises(RequestError, match=r"^'wind' takes "):
            Direction.stored("wind", spec, [[1.0, wrong]])
