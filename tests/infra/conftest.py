"""Shared by the tests of infra/. A checker that does not go with our pins runs in an environment of its own."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
