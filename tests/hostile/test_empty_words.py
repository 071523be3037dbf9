"""Empty words, which a script gives when one of its variables is not set: refused before anything is started."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app


def elboflow(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env=environment)


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["runs", "--workspace", "{}"], "--workspace"),
        (["run", "digits", "--target", "{}"], "--target"),
        (["run", "{}"], "the argument after `run`"),
        (["run", "digits", "--set", "{}"], "--set"),
        (["config", "digits", "--env", "{}"], "--env"),
        (["init", "{}"], "the argument after `init`"),
        (["compile", "digits", "--target", "vertex", "--output", "{}"], "--output"),
        (["step", "preprocess", "digits", "--output", "{}"], "--output"),
        (["sweep", "digits", "--over", "{}"], "--over"),
        (["schedule", "create", "digits", "--cron", "{}"], "--cron"),
        (["schedule", "create", "digits", "--cron", "0 2 * * *", "--timezone", "{}"], "--timezone"),
        (["status", "{}"], "the argument after `status`"),
        (["{}"], "the argument"),
    ],
)
def test_an_empty_argument_or_option_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], name: str, empty: str
):
    monkeypatch.chdir(tmp_path)
    done = elboflow(*(word.format(empty) for word in command))
    assert done.exit_code == 2
    assert done.stderr == f"error: {name} is empty\n"
    assert list(tmp_path.iterdir()) == []


def test_an_option_that_ends_with_its_equals_sign_is_refused():
    assert elboflow("runs", "--workspace=").stderr == "error: --workspace is empty\n"
    assert elboflow("config", "digits", "--set=seed=3").exit_code == 0


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_variable_is_not_the_default_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: str):
    monkeypatch.chdir(tmp_path)
    done = elboflow("runs", ELBOFLOW_WORKSPACE=empty)
    assert done.exit_code == 2
    assert done.stderr == "error: ELBOFLOW_WORKSPACE is empty; give the folder of the workspace, or unset it\n"
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_workspace():
    assert elboflow("--help", ELBOFLOW_WORKSPACE="").exit_code == 0
