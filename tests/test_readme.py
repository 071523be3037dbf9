"""What the README says to type, typed; and what it shows, compared."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = re.compile(r"```python\n(from components\.train import train\n.*?)```", re.DOTALL)


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
def test_the_lines_for_a_notebook_work_beside_modules_of_the_user_s_own(tmp_path: Path) -> None:
    """Names as common as these must not be taken for ours, nor ours for them."""
    for name in ("settings", "artifacts", "vae", "data", "config", "model", "training", "evaluation", "utils"):
        (tmp_path / f"{name}.py").write_text(f"raise AssertionError('this is the user's own {name}.py')\n", "utf-8")
    (lines,) = NOTEBOOK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    preprocessed = (
        "from components.preprocess import preprocess\n"
        "from pipelines.experiment import load\n"
        "preprocess(load('digits', []).data, 'dataset')\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])  # a notebook's folder comes first
    done = subprocess.run(
        [sys.executable, "-c", preprocessed + lines.replace("epochs=5", "epochs=1")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model/model.json").exists()


def test_it_has_at_most_150_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """The folder in which `elboflow run digits` ran, and the metrics of that run."""
    folder = tmp_path_factory.mktemp("digits")
    command = [sys.executable, "-m", "pipelines", "run", "digits", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)["metrics"]


@pytest.mark.slow
@pytest.mark.xdist_group("digits")
def test_the_bounds_that_it_shows_are_those_of_the_digits(digits: tuple[Path, dict[str, float]]) -> None:
    _, metrics = digits
    shown = dict(re.findall(r"(?m)^ (\w+) +(-?[\d.]+)  ", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"log_likelihood", "elbo", "kl"} <= shown.keys()
    assert {name: metrics[name] for name in shown} == pytest.approx(
        {name: float(value) for name, value in shown.items()}, rel=2e-3
    )


@pytest.mark.slow
@pytest.mark.xdist_group("digits")
def test_the_lines_of_the_page_on_serving_ask_the_champion(digits: tuple[Path, dict[str, float]]) -> None:
    folder, _ = digits
    (lines,) = re.findall(r"(?s)```python\n(import mlflow\n.*?)```", (ROOT / "docs/serving.md").read_text("utf-8"))
    images = "import numpy\nimages = numpy.zeros((3, 8, 8))\n"
    printed = re.sub(r"(?m)^(model\.predict\(.*\))  #.*$", r"print(*numpy.shape(\1))", lines)
    # Earlier tests of this process may have named another MLflow.
    clean = {name: value for name, value in os.environ.items() if "MLFLOW_" not in name}
    command = [sys.executable, "-c", images + printed]
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "8", "8", "1", "3"]
