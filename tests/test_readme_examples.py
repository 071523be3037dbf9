"""The examples of README.md and of docs/: every command line, YAML, Python and TOML block works as it is written.

What needs a cloud, a trained model or minutes is checked as far as the command line and the experiment go.
"""

import ast
import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from elboflow.settings import yaml_text, yaml_writing
from pipelines.cli import app
from pipelines.experiment import Experiment, load
from pipelines.rehearsal.inventory import Inventory
from pipelines.schedules.files import DeclaredSchedule
from pipelines.sweeps import axes
from pipelines.workspace import WorkspaceSettings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
MISSING_HERE = {"…": "x", "PROJECT": "my-project", "FOLDER": "folder", "BUCKET": "bucket"}


def blocks(*languages: str) -> Iterator[str]:
    for page in PAGES:
        yield from (text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages)


def command_lines() -> list[str]:
    """Returns each `elboflow …` of a shell block, one for each of several words such as `status|logs|cancel`."""
    found = []
    for block in blocks("", "sh", "bash", "console", "shell"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.removeprefix("$ ").startswith("elboflow "):
                words = shlex.split(line.removeprefix("$ ").partition(" > ")[0], comments=True)[1:]
                several = words[0].split("|")
                found += [shlex.join([word, *(other for other in words[1:] if other != "…")]) for word in several]
    return list(dict.fromkeys(found))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README has written: faces.yaml by `init`, and what is beside it."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["init", "faces", "--from", "digits"]).exit_code == 0
    (tmp_path / "faces.prod.yaml").write_text(overlay(), encoding="utf-8")
    return tmp_path


def overlay() -> str:
    """Returns the block that follows the README's words on faces.prod.yaml."""
    text = PAGES[0].read_text(encoding="utf-8") + "".join(page.read_text(encoding="utf-8") for page in PAGES[1:])
    return BLOCK.findall(text[text.index("`faces.prod.yaml`") :])[0][1]


def parsed(line: str) -> tuple[list[str], dict[str, Any]]:
    """Returns the words of a command and its arguments, parsed but not acted on."""
    command, words, names = get_command(app), shlex.split(line), ["elboflow"]
    context = None
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        context = command.make_context(names[-1], list(words), parent=context, resilient_parsing=True)
        name, *words = words
        assert name in command.commands, f"elboflow {line}: there is no command {name!r}"
        command, names = command.commands[name], [*names, name]
    return names, command.make_context(names[-1], list(words), parent=context).params


def test_there_are_examples():
    assert len(command_lines()) > 50
    assert len(of_experiments()) > 10


@pytest.mark.parametrize("line", command_lines())
@pytest.mark.usefixtures("folder")
def test_a_command_line_has_a_command_options_and_an_experiment_that_exist(line: str):
    names, given = parsed(line)
    experiment = given.get("experiment")
    is_shown_for_its_mistake = "training.epoch=" in line
    if experiment is None or given.get("describe") or is_shown_for_its_mistake:
        return
    loaded = load(experiment, given.get("assignments") or (), given.get("env"))
    if names[1] == "sweep":
        assert axes.parse(given["over"], loaded)


def experiments_in(block: str) -> Iterator[dict[str, Any]]:
    """Yields what a block says; each of its lines, where they give the same key twice to show two ways."""
    for placeholder, value in MISSING_HERE.items():
        block = block.replace(placeholder, value)
    try:
        yield yaml_text.read(block).value
    except yaml_text.YAMLTextError as error:
        if "is given twice" not in str(error):
            raise
        yield from (yaml_text.read(line).value for line in block.splitlines())


def of_experiments() -> list[str]:
    """Returns the YAML blocks without those of Kubernetes' own resources."""
    return [block for block in blocks("yaml") if not re.search("^(apiVersion|spec):", block, re.MULTILINE)]


@pytest.mark.parametrize("block", of_experiments(), ids=lambda block: block.splitlines()[0])
def test_a_yaml_block_is_an_experiment_or_can_be_merged_into_one_or_is_a_schedule_or_settings_of_a_workspace(
    block: str, folder: Path
):
    for values in experiments_in(block):
        if "images" in values:
            Inventory.model_validate(values)
        elif "keep" in values:
            WorkspaceSettings.model_validate(values)
        elif "experiment" in values:
            DeclaredSchedule.model_validate(values)
        elif "data" in values:
            Experiment.model_validate({"name": "faces", **values})
        else:
            (folder / "faces.more.yaml").write_text(yaml_writing.write(values), encoding="utf-8")
            load("faces.yaml", env="more")


def test_a_mistake_is_told_as_it_is_shown():
    done = CliRunner().invoke(app, ["run", "digits", "--set", "training.epoch=5"])
    shown = next(text for text in blocks("", "console") if "--set training.epoch=5" in text).splitlines()[1]
    assert shown.removesuffix("…").strip() in done.stderr


@pytest.mark.usefixtures("folder")
def test_what_an_environment_changes_is_printed_as_it_is_shown():
    shown = next(text for text in blocks("", "console") if "--env prod --diff" in text).splitlines()
    done = CliRunner().invoke(app, shlex.split(shown[0].removeprefix("$ "))[1:])
    assert done.exit_code == 0, done.stderr
    assert {line for line in shown[1:] if line != "…"} <= {*done.stdout.splitlines()}


@pytest.mark.parametrize("block", [*blocks("python")], ids=lambda block: block.splitlines()[0])
def test_a_python_block_imports_what_exists(block: str):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in (
            "components",
            "pipelines",
            "elboflow",
        ):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, name.name) for name in node.names), node.module


@pytest.mark.xdist_group("tensorflow")
@pytest.mark.usefixtures("tensorflow_backend")
def test_the_objective_of_the_page_on_kinds_has_a_loss():
    (block,) = (block for block in blocks("python") if "(Objective)" in block)
    defined: dict[str, Any] = {"__name__": "my_package"}
    exec(compile(block, "docs/kinds.md", "exec"), defined)
    objective = defined["Capacity"].model_validate({"kind": "capacity", "nats": 5})
    loss = objective(SimpleNamespace(total_kl=np.array([5.0, 6.0]), reconstruction=np.array([-1.0, -2.0])), step=0)
    assert np.asarray(loss.total).tolist() == [1, 102]


@pytest.mark.parametrize("block", [*blocks("toml")], ids=lambda block: block.splitlines()[0])
def test_a_toml_block_can_be_read(block: str):
    assert tomllib.loads(block)
