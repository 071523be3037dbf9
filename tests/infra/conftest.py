"""Shared by the tests of infra/. A checker that does not go with our pins runs in an environment of its own."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = {"checkov": "3.3.30", "check-jsonschema": "0.39.0"}


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def checker() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a checker with arguments; skips where it can neither be found nor be installed."""
    uv = str(Path(sys.executable).with_name("uv"))

    def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [uv, "tool", "run", "--quiet", "--from", f"{name}=={VERSIONS[name]}", name]
        if not Path(uv).exists():
            pytest.skip("uv is not installed")
        # Its environment's Python, not itself: checkov alone takes seconds to say its version.
        there = subprocess.run([*command[:-1], "python", "-c", ""], capture_output=True, encoding="utf-8")
        if there.returncode:
            pytest.skip(f"{name} {VERSIONS[name]} cannot be installed here: {there.stderr.strip()[-300:]}")
        return subprocess.run([*command, *map(str, arguments)], capture_output=True, encoding="utf-8", cwd=ROOT)

    return run


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Returns the path of a program; skips where it is not installed."""

    def find(name: str) -> str:
        return shutil.which(name) or pytest.skip(f"{name} is not installed")

    return find


@pytest.fixture(scope="session")
def terraform(program: Callable[[str], str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Terraform in a folder, offline: no provider is installed but its own."""

    def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [program("terraform"), f"-chdir={folder}", *arguments]
        return subprocess.run(command, capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL, timeout=120)

    return run


@pytest.fixture(scope="session")
def services(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((root / "infra/compose.yaml").read_text(encoding="utf-8"))["services"]
    return loaded


@pytest.fixture(scope="session")
def driver(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver of PostgreSQL, of the version that MLflow's image has, in a folder of its own."""
    folder, pinned = tmp_path_factory.mktemp("driver"), (root / "infra/images/mlflow.txt").read_text(encoding="utf-8")
    wanted = next(line for line in pinned.splitlines() if line.startswith("psycopg2"))
    uv = Path(sys.executable).with_name("uv")
    pip = (
        [uv, "pip", "install", "--python", sys.executable] if uv.exists() else [sys.executable, "-m", "pip", "install"]
    )
    command = [*pip, "--quiet", "--no-deps", "--target", folder, wanted]
    installed = subprocess.run(command, capture_output=True, encoding="utf-8")
    if installed.returncode:
        pytest.skip(f"{wanted} cannot be installed here: {installed.stderr.strip()[-300:]}")
    return folder
