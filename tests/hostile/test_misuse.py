"""Commands with arguments that cannot be: a line or two for the person, exit code 2, nothing written."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from elboflow.settings import WorkError
from pipelines.cli import app
from pipelines.step_process.process import understood


def elboflow(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, but for a file, a folder and a link that leads nowhere."""
    (tmp_path / "file").write_text("precious", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    return tmp_path


STEP = ["step", "train", "digits", "--dataset", "folder"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["runs", "--workspace", "file"], "--workspace (or $ELBOFLOW_WORKSPACE): file is a file, not a folder"),
        (["runs", "--workspace", "file/below"], "/file is a file, not a folder"),
        (["run", "digits", "--workspace", "file"], "file is a file, not a folder"),
        (["scheduler", "--check", "--workspace", "file"], "file is a file, not a folder"),
        (["doctor", "--workspace", "file"], "file is a file, not a folder"),
        (["generate", "nosuch", "--output", "x.png", "--workspace", "file"], "file is a file, not a folder"),
        ([*STEP, "--output", "file"], "--output: file is a file, not a folder"),
        ([*STEP, "--output", "folder"], "--output folder: is the folder of what is read; the output needs another"),
        ([*STEP, "--output", "../{}/folder/"], "is the folder of what is read"),
        (["step", "evaluate", "digits", "--dataset", "folder", "--model", "folder", "--output", "folder"], "is the"),
        ([*STEP, "--output", "new", "--tracking-uri", "mlruns"], "--tracking-uri: mlruns is no address of an MLflow"),
        ([*STEP, "--output", "new", "--tracking-uri", "localhost:5000"], "is no address of an MLflow; allowed: http"),
        ([*STEP, "--output", "new", "--tracking-uri", "file:///x"], "file:///x is no address of an MLflow"),
        (["config", "folder"], "folder: is a folder; an experiment is a YAML file"),
        (["config", "link"], "link: no such file or experiment"),
        (["run", "/dev/null"], "/dev/null: is a pipe or a device"),
    ],
)  # fmt: skip
def test_a_wrong_path_or_address_is_refused_by_its_option(place: Path, command: list[str], told: str):
    before = sorted(place.rglob("*"))
    done = elboflow(*(word.format(place.name) for word in command))
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(place.rglob("*")) == before


def test_a_variable_that_names_no_mlflow_is_refused_before_anything_runs(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ELBOFLOW_TRACKING_URI", "mlruns")
    done = elboflow("run", "digits")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "error: ELBOFLOW_TRACKING_URI: mlruns is no address of an MLflow; allowed: http" in done.stderr
    assert not (place / "elboflow-workspace/runs").exists() or not any((place / "elboflow-workspace/runs").iterdir())


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["runs", "list", "--limit", "x"], "'x' is not allowed; must be a whole number"),
        (["runs", "list", "--limit", "0"], "'0' is not allowed; must be greater than or equal to 1"),
        (["generate", "model", "--output", "x.png", "--n", "0"], "'0' is not allowed; must be greater than or"),
        (["generate", "model", "--output", "x.png", "--seed", "1.5"], "'1.5' is not allowed; must be a whole number"),
        (["ui", "--port", "65536"], "'65536' is not allowed; must be less than or equal to 65535"),
    ],
)
def test_a_wrong_number_is_told_in_words(place: Path, command: list[str], told: str):
    done = elboflow(*command)
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.replace("│", " ").split())
    assert "Input should" not in done.stderr


def test_a_file_that_the_machine_does_not_give_is_told_without_a_traceback(tmp_path: Path):
    with pytest.raises(OSError, match="File name too long") as caught:
        (tmp_path / ("x" * 300)).read_text(encoding="utf-8")
    told = understood(caught.value)
    assert isinstance(told, WorkError)
    assert str(told).endswith("x: File name too long")


def test_a_model_that_no_memory_holds_is_told_without_a_traceback():
    with pytest.raises(MemoryError) as caught:
        np.empty((2**20, 2**30))
    told = understood(caught.value)
    assert isinstance(told, WorkError)
    assert str(told).startswith("the memory of this machine is not enough: Unable to allocate")
