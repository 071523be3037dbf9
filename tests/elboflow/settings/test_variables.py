"""The environment variables of this program stand in one file, and a misspelt one is noticed."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from elboflow.settings import variables
from pipelines.cli import app

ROOT = Path(__file__).parents[3]
ROOMS = ("elboflow", "preprocessing", "components", "pipelines", "benchmarks", "infra")


def test_no_other_file_of_the_program_spells_a_variable():
    spelt = re.compile(r"""["']ELBOFLOW_[A-Z]""")
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    found = [str(path.relative_to(ROOT)) for path in files if spelt.search(path.read_text(encoding="utf-8"))]
    assert found == ["elboflow/settings/variables.py"]


def test_every_variable_that_images_and_deployments_set_exists():
    files = [path for path in (ROOT / "infra").rglob("*") if path.suffix in (".yaml", ".Containerfile", ".tf", ".md")]
    used = {name for path in files for name in re.findall(r"ELBOFLOW_[A-Z_]+", path.read_text(encoding="utf-8"))}
    assert variables.WORKSPACE in used
    assert used <= variables.VARIABLES.keys()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ELBOFLOW_WORKSPCE", "is no variable of this program; did you mean ELBOFLOW_WORKSPACE?"),
        ("ELBOFLOW_COLOUR", "is no variable of this program"),
    ],
)
def test_a_variable_that_does_not_exist_is_warned_of_once_with_the_nearest(
    name: str, told: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(name, "x")
    done = CliRunner().invoke(app, ["experiments"])
    assert done.exit_code == 0
    assert done.stderr == f"warning: {name} {told}\n"
