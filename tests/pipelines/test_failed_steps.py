"""The block of a step that failed: pasted into a shell, its command does the step again."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.targets.local.failure import BY_HAND, LAST_LINES
from pipelines.targets.local.record import EXPERIMENT, read
from pipelines.workspace import Workspace

pytestmark = pytest.mark.xdist_group("failed_step")  # one worker makes the run that failed

TABLE = """
name: table
data:
  source: {kind: csv, path: rows.csv}
  features: {a: number, b: category}
  splits: {train: 0.6, validation: 0.2, test: 0.2}
model: {input: [a, b], latent: 2, likelihood: product}
"""
SECRET = "hunter2-hunter2"
ROWS = "a,b\n" + "".join(f"{number / 7},{'xyz'[number % 3]}\n" for number in range(200))


def elboflow(workspace: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--workspace", str(workspace)])


def pasted(command: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["bash", "-c", command], cwd=directory, capture_output=True, encoding="utf-8")


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict[str, Any], str]:
    """A run whose preprocessing failed: its folder of work, its name, its JSON, and what it told."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "table.yaml").write_text(TABLE, encoding="utf-8")
    (folder / "rows.csv").write_text(ROWS + f"{SECRET},x\n" * 50, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SOME_PASSWORD", SECRET)
        done = elboflow(folder / "w", "run", "table.yaml", "--json")
    assert done.exit_code == 1
    said = json.loads(done.stdout.splitlines()[-1])
    return folder, said["run"], said, done.stderr


def test_a_failed_step_says_what_it_read_and_printed_and_how_to_repeat_it(
    failed: tuple[Path, str, dict[str, Any], str],
):
    folder, run, said, told = failed
    failure = said["failure"]
    assert failure["step"] == "preprocess"
    assert failure["settings"] == str(folder / "w" / "runs" / run / EXPERIMENT)
    assert 0 < len(failure["last_lines"]) <= LAST_LINES
    assert "50 examples of 250 do not fit" in "\n".join(failure["last_lines"])
    assert not any("executor_input" in line for line in failure["last_lines"])
    block = told[told.index(f"--- preprocess of {run}") :]
    assert all(line in block for line in failure["last_lines"])
    assert failure["command"] in block
    assert SECRET not in told + json.dumps(said)


def test_status_and_logs_of_a_failed_run_show_the_command_too(failed: tuple[Path, str, dict[str, Any], str]):
    folder, run, said, _ = failed
    for words in (["status", run], ["logs", run]):
        shown = elboflow(folder / "w", *words)
        assert shlex.join(["step", "preprocess", said["failure"]["settings"]]) in shown.output, words
    for words in (["status", run], ["logs", run]):
        failure = json.loads(elboflow(folder / "w", *words, "--json").stdout)["failure"]
        assert failure["command"].startswith(f"cd {folder} && ")  # where its relative paths begin
        assert {**failure, "command": ""} == {**said["failure"], "command": ""}


@pytest.mark.slow
def test_the_command_of_a_failed_step_runs_when_it_is_pasted(failed: tuple[Path, str, dict[str, Any], str]):
    folder, run, _, _ = failed
    command = json.loads(elboflow(folder / "w", "status", run, "--json").stdout)["failure"]["command"]
    again = pasted(command, folder.parent)
    assert again.returncode == 1
    assert "50 examples of 250 do not fit" in again.stderr
    (folder / "rows.csv").write_text(ROWS, encoding="utf-8")
    mended = pasted(command, folder.parent)
    assert mended.returncode == 0, mended.stderr
    assert Path(mended.stdout.strip()) == folder / "w" / "runs" / run / "preprocess" / BY_HAND
    assert (Path(mended.stdout.strip()) / "dataset.json").is_file()


def test_a_masked_secret_is_said_to_be_missing_from_the_settings(failed: tuple[Path, str, dict[str, Any], str]):
    folder, run, _, _ = failed
    settings = folder / "w" / "runs" / run / EXPERIMENT
    kept = settings.read_text(encoding="utf-8")
    settings.write_text(kept.replace("rows.csv", "***/rows.csv"), encoding="utf-8")
    shown = elboflow(folder / "w", "status", run)
    settings.write_text(kept, encoding="utf-8")
    assert "put the secrets back into the settings, where *** stands for them" in shown.stderr


def test_a_run_that_did_not_fail_has_no_such_block(tmp_path: Path, failed: tuple[Path, str, dict[str, Any], str]):
    folder, run, _, _ = failed
    record = read(folder / "w" / "runs" / run)
    assert record is not None
    steps = (replace(record.steps[0], status="succeeded", reason=None),)
    replace(record, status="succeeded", reason=None, steps=steps).write(tmp_path / "runs")
    shown = elboflow(tmp_path, "status", run, "--json")
    assert "failure" not in json.loads(shown.stdout)
    assert "alone" not in elboflow(tmp_path, "logs", run).output


@pytest.mark.slow
def test_the_commands_of_all_later_steps_run_when_they_are_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small = ["--set", "training.epochs=1", "--set", "evaluation.bound_samples=2"]
    done = elboflow(tmp_path, "run", "digits", *small, "--json")
    assert done.exit_code == 0, done.stderr
    run = json.loads(done.stdout.splitlines()[-1])["run"]
    monkeypatch.setattr(sys, "argv", [str(Path(sys.executable).with_name("elboflow"))])
    record = read(Workspace(tmp_path).runs / run)
    assert record is not None
    for number, step in enumerate(record.planned[1:], 1):
        ended = replace(record.steps[number], status="failed", reason="planted")
        steps = (*record.steps[:number], ended)
        replace(record, status="failed", ended=datetime.now(UTC), steps=steps).write(Workspace(tmp_path).runs)
        failure = json.loads(elboflow(tmp_path, "status", run, "--json").stdout)["failure"]
        assert failure["step"] == step
        assert all(Path(path).is_dir() for path in failure["inputs"].values())
        again = pasted(failure["command"], Path.cwd())
        assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["version"] == 1, "the same weights of the same run are one version"
