"""The built wheel, in a fresh environment away from a checkout: all that a person needs who installs it."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("elboflow", "preprocessing", "components", "pipelines")

pytestmark = pytest.mark.slow


def uv() -> str:
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("there is no uv to build and install with: make setup")
    return found


def made(*command: str | Path) -> None:
    """Runs a command that needs a package index; skips where there is none."""
    done = subprocess.run(list(map(str, command)), capture_output=True, encoding="utf-8")
    if done.returncode:
        unreachable = ("error sending request", "Failed to fetch", "dns error", "Connection refused", "timed out")
        if any(sign in done.stderr for sign in unreachable):
            pytest.skip(f"no package index answers: {done.stderr[-300:]}")
        pytest.fail(f"{command}: {done.stderr[-2000:]}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of what is in this checkout, built from a copy: a build leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in (*PACKAGES, "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / "source" / name)
    made(uv(), "build", "--quiet", "--wheel", "--out-dir", folder, folder / "source")
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The command of an environment with the wheel, the dependencies that it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("fresh")
    made(uv(), "venv", "--quiet", "--clear", "--python", sys.executable, folder)
    made(uv(), "pip", "install", "--quiet", "--compile-bytecode", "--python", folder / "bin/python", wheel)
    yield folder / "bin" / "elboflow"
    shutil.rmtree(folder)  # 2.6 GB


def do(program: Path, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    ours = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONSAFEPATH")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run([str(program), *words], capture_output=True, encoding="utf-8", cwd=folder, env=environment)


def test_the_wheel_has_every_file_of_the_packages_that_is_no_code(wheel: Path):
    there = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as opened:
        has = {name for name in opened.namelist() if ".dist-info/" not in name}
        (points,) = (name for name in opened.namelist() if name.endswith("/entry_points.txt"))
        entries = opened.read(points).decode()
    assert has == there
    assert "[pytest11]\nelboflow.testing.plugin = elboflow.testing.plugin" in entries, "whose fixtures pytest finds"


def test_an_installed_wheel_runs_a_ready_made_experiment_away_from_a_checkout(program: Path, tmp_path: Path):
    listed = do(program, tmp_path, "experiments")
    assert listed.returncode == 0, listed.stderr
    assert {"digits", "mnist", "table", "text"} <= set(listed.stdout.split())
    done = do(program, tmp_path, "run", "digits", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["mlflow"]["promoted"] is True
    assert Path(result["report"]).is_relative_to(tmp_path / "elboflow-workspace")
    again = do(program, tmp_path, "run", "digits", "--json")
    reasons = {step["name"]: step["reason"] for step in json.loads(again.stdout.splitlines()[-1])["steps"]}
    assert reasons["train"] == f"cached from {result['run']}", "an installed version says what the code is"
