"""How local runs end, without their steps: what --json says of it, and what MLflow is told."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from elboflow.testing.platforms.wire import wait_for
from pipelines.cli import app
from pipelines.experiment import load
from pipelines.graphs import PipelineInputs, Take
from pipelines.graphs.training import Training
from pipelines.targets.local import execution, in_mlflow, recording
from pipelines.targets.local.artifacts import Artifact
from pipelines.targets.local.client import LocalClient
from pipelines.targets.local.resumption import Part
from pipelines.targets.local.runner import StepError
from pipelines.workspace import Workspace, open_to_write

REMOTE = {"run", "experiment", "target", "status", "steps", "created", "ended", "link", "reason"}


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def ended(workspace: Workspace) -> list[str]:
    from mlflow import MlflowClient

    client = MlflowClient(workspace.tracking_uri)
    found = client.get_experiment_by_name("digits")
    return [] if found is None else [run.info.status for run in client.search_runs([found.experiment_id])]


@pytest.mark.slow
def test_a_run_that_was_interrupted_is_killed_in_mlflow_and_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from mlflow import MlflowClient

    workspace = open_to_write(tmp_path / "workspace")
    MlflowClient(workspace.tracking_uri).search_experiments()  # makes its file
    monkeypatch.setattr(Training, "build", interrupted)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        execution.execute(load("digits"), workspace)
    assert time.monotonic() - began < in_mlflow.MOMENT + 2
    wait_for(lambda: ended(workspace) == ["KILLED"])


def test_a_run_that_was_interrupted_as_soon_as_it_is_listed_was_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    workspace = open_to_write(tmp_path / "workspace")
    monkeypatch.setattr(in_mlflow, "begin", interrupted)
    monkeypatch.setattr(in_mlflow, "end", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        execution.execute(load("digits"), workspace)
    (run,) = LocalClient(workspace).runs()
    assert (run.status, run.reason) == ("cancelled", "ended by SIGINT")


@pytest.mark.slow
def test_a_run_that_was_interrupted_before_there_is_an_mlflow_is_killed_in_the_one_that_is_made_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    workspace = open_to_write(tmp_path / "workspace")
    monkeypatch.setattr(Training, "build", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execution.execute(load("digits"), workspace)
    wait_for(lambda: workspace.database.exists() and ended(workspace) == ["KILLED"], 60)


@pytest.mark.slow
def test_a_part_of_a_pipeline_without_its_registration_is_finished_in_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    workspace = open_to_write(tmp_path / "workspace")
    monkeypatch.setattr(Training, "build", lambda *_: None)
    execution.execute(load("digits"), workspace, part=Part({}, until="train"))
    wait_for(lambda: workspace.database.exists() and ended(workspace) == ["FINISHED"], 60)


def asked(workspace: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["run", "digits", "--workspace", str(workspace), "--json", *arguments])
    return done.exit_code, json.loads(done.stdout)


def test_what_json_says_of_a_local_run_holds_all_that_it_says_of_one_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def failed(_: Training, __: Take, values: PipelineInputs) -> None:
        raise StepError(values.run, "train", "a NaN")

    monkeypatch.setattr(Training, "build", failed)
    monkeypatch.setattr(recording, "_finish", lambda *_: None)
    code, said = asked(tmp_path)
    assert (code, set(said)) == (1, REMOTE | {"step"})
    assert (said["experiment"], said["target"], said["status"], said["step"], said["reason"]) == (
        "digits", "local", "failed", "train", "a NaN"
    )  # fmt: skip
    monkeypatch.setattr("pipelines.commands.run._unchanged", lambda *_: "nothing changed")
    code, said = asked(tmp_path, "--if-changed")
    assert (code, set(said)) == (0, REMOTE)
    assert (said["run"], said["status"], said["reason"]) == (None, "skipped", "nothing changed")


def test_a_local_run_that_succeeded_says_what_it_left_besides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "metrics.json").write_text('{"nll": {"value": 1.0}}', encoding="utf-8")
    made = {name: Artifact(name, "system.Artifact", str(tmp_path)) for name in ("dataset", "model", "evaluation")}
    facts = {"version": 1, "model": "digits-vae", "promoted": True, "reason": "the first"}
    facts |= {"tracking_uri": "https://mlflow.example", "run_id": "4711"}
    made["registration"] = Artifact("registration", "system.Artifact", str(tmp_path), facts)

    def built(_: Training, take: Any, __: PipelineInputs) -> None:
        take.__self__.artifacts.update(made)

    monkeypatch.setattr(Training, "build", built)
    monkeypatch.setattr("pipelines.commands.run.summarise_run", lambda *_: None)  # of an evaluation that is none
    code, said = asked(tmp_path / "workspace")
    assert (code, said["status"], said["target"]) == (0, "succeeded", "local")
    own = {"dataset", "model", "evaluation", "report", "mlflow", "metrics", "seconds"}
    assert set(said) == REMOTE | own
    assert said["mlflow"]["version"] == 1
