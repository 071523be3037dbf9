"""Parts of a pipeline on this machine: what an earlier run made is used again, where it is of the same settings."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from elboflow.settings import RequestError
from elboflow.testing.platforms.wire import free_port
from pipelines.cli import app
from pipelines.experiment import Experiment, load
from pipelines.graphs import PipelineInputs
from pipelines.graphs.training import TRAINING, Training
from pipelines.targets import Status, StepState
from pipelines.targets.local import in_mlflow, recording
from pipelines.targets.local.artifacts import KEPT, Artifact
from pipelines.targets.local.client import LocalClient
from pipelines.targets.local.process import ProcessIdentity
from pipelines.targets.local.record import EXPERIMENT, Record, read
from pipelines.targets.local.resumption import failed_part, part
from pipelines.targets.local.runner import StepError
from pipelines.workspace import Workspace

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MADE = {"preprocess": "dataset", "train": "model", "evaluate": "evaluation", "register": "registration"}


def ran(
    workspace: Workspace, run: str, experiment: Experiment, steps: Sequence[str], status: Status, hours: int = 0
) -> Path:
    """Leaves a run in which these steps have succeeded."""
    folder = workspace.runs / run
    for step in steps:
        path = folder / step / MADE[step]
        path.mkdir(parents=True)
        artifact = Artifact(MADE[step], "system.Artifact", str(path), {"of": run})
        (folder / step / KEPT).write_text(json.dumps({MADE[step]: asdict(artifact)}), encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / EXPERIMENT).write_text(experiment.model_dump_json(), encoding="utf-8")
    states = tuple(StepState(step, "succeeded", NOON, NOON) for step in steps)
    Record(
        run, experiment.name, ProcessIdentity(1, "long ago"), status, NOON + timedelta(hours=hours), NOON, states
    ).write(workspace.runs)
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


DIGITS = load("digits")


def test_the_newest_run_of_the_same_settings_gives_what_the_first_step_needs(workspace: Workspace):
    for number, experiment in enumerate([DIGITS, DIGITS, load("digits", ["training.epochs=3"])]):
        ran(workspace, f"digits-{number}", experiment, ["preprocess", "train"], "failed", number)
    ran(workspace, "digits-9", DIGITS, ["preprocess"], "failed", 9)
    kept = part(TRAINING, DIGITS, workspace, "evaluate", None).kept
    assert {step: made[MADE[step]].metadata["of"] for step, made in kept.items()} == {
        "preprocess": "digits-1", "train": "digits-1"
    }  # fmt: skip
    assert (
        part(TRAINING, DIGITS, workspace, "train", "train").kept["preprocess"]["dataset"].metadata["of"] == "digits-9"
    )


def test_a_setting_of_a_later_step_does_not_count_and_one_of_an_earlier_step_is_named(workspace: Workspace):
    ran(workspace, "digits-1", DIGITS, list(MADE), "succeeded")
    other = load("digits", ["evaluation.bound_samples=7"])
    assert list(part(TRAINING, other, workspace, "evaluate", None).kept) == ["preprocess", "train"]
    with pytest.raises(RequestError, match="with these settings; digits-1 differs in evaluation"):
        part(TRAINING, other, workspace, "register", None)


def test_what_was_made_of_another_dates_data_is_not_used(workspace: Workspace, tmp_path: Path):
    (tmp_path / "orders.yaml").write_text(
        "name: orders\n"
        'data: {source: {kind: csv, path: "{date}.csv"}, features: {amount: number}}\n'
        "model: {input: amount, latent: 2, likelihood: normal}\n",
        encoding="utf-8",
    )
    first, second = (load(str(tmp_path / "orders.yaml"), [f"date='2026-11-{day}'"]) for day in (28, 29))
    ran(workspace, "orders-1", first, ["preprocess"], "failed")
    assert part(TRAINING, first, workspace, "train", None).kept
    with pytest.raises(RequestError, match="orders-1 differs in date"):
        part(TRAINING, second, workspace, "train", None)


def test_artifacts_that_are_gone_are_not_used(workspace: Workspace):
    folder = ran(workspace, "digits-1", DIGITS, ["preprocess", "train"], "failed")
    (folder / "train" / "model").rmdir()
    with pytest.raises(RequestError, match="has finished train with these settings"):
        part(TRAINING, DIGITS, workspace, "evaluate", None)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--from", "trian"], "--from trian: there is no such step; allowed: preprocess, train, evaluate, register"),
        (["--until", "x"], "--until x: there is no such step"),
        (["--from", "evaluate", "--until", "train"], "--until train: comes before --from evaluate"),
        (["--from", "train"], "--from train: no run of digits in "),
        (["--from", "train", "--target", "vertex"], "--from, --until: parts of a pipeline run on this machine"),
        (["--until", "train", "--no-wait"], "--from, --until: parts of a pipeline run on this machine"),
    ],
)
def test_a_part_that_cannot_be_is_refused_before_anything_runs(tmp_path: Path, words: list[str], told: str):
    done = CliRunner().invoke(app, ["run", "digits", *words, "--workspace", str(tmp_path / "new")])
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {told}")


def test_a_run_that_failed_is_repeated_with_the_experiment_that_it_had(workspace: Workspace):
    had = load("digits", ["training.epochs=3", "targets.local.threads=1"])
    ran(workspace, "digits-1", had, ["preprocess"], "failed")
    experiment, left = failed_part(TRAINING, "digits-1", workspace)
    assert (experiment, list(left.kept), left.until) == (had, ["preprocess"], None)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("digits-2", "the run digits-2 succeeded; a new one: elboflow run digits"),
        ("absent", "there is no run 'absent'"),
        ("../digits-2", "there is no run"),
        ("digits-3", "the experiment of the run digits-3 held a secret, which is not kept; run it again"),
        ("digits-4", "the run digits-4 is of an older version, which kept no experiment; run it again"),
        ("digits-5", "the run digits-5 is a sweep; the same command again goes on with it"),
    ],
)
def test_a_run_that_cannot_be_repeated_says_why(workspace: Workspace, run: str, told: str):
    ran(workspace, "digits-2", DIGITS, list(MADE), "succeeded")
    secret = ran(workspace, "digits-3", DIGITS, [], "failed") / EXPERIMENT
    secret.write_text(secret.read_text(encoding="utf-8").replace('"digits"', '"***"'), encoding="utf-8")
    (ran(workspace, "digits-4", DIGITS, [], "failed") / EXPERIMENT).unlink()
    Record("digits-5", "digits", ProcessIdentity(1, ""), "failed", NOON, NOON, planned=("preprocess", "search")).write(
        workspace.runs
    )
    done = CliRunner().invoke(app, ["runs", "retry", run, "--workspace", str(workspace.folder)])
    assert done.exit_code == 2
    assert told in done.stderr


def test_a_failed_run_that_is_repeated_and_not_waited_for_is_at_work_by_itself(workspace: Workspace):
    ran(workspace, "digits-1", DIGITS, [], "failed")
    words = ["runs", "retry", "digits-1", "--no-wait", "--workspace", str(workspace.folder)]
    done = CliRunner().invoke(app, words)
    try:
        assert (done.exit_code, done.stdout) == (0, "digits-1\n"), done.stderr
        assert "runs attach digits-1 --target local" in done.stderr
        assert LocalClient(workspace).run("digits-1").status == "running"
        assert "the run digits-1 is at work" in CliRunner().invoke(app, words).stderr
    finally:
        LocalClient(workspace).cancel("digits-1")
    assert LocalClient(workspace).run("digits-1").status == "cancelled"


def test_a_repetition_without_waiting_that_is_refused_says_why_and_leaves_the_run_as_it_was(workspace: Workspace):
    gone = load("digits", ["data.source={kind: npz, path: /nowhere.npz}"])
    ran(workspace, "digits-1", gone, [], "failed")
    done = CliRunner().invoke(app, ["runs", "retry", "digits-1", "--no-wait", "--workspace", str(workspace.folder)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "/nowhere.npz" in done.stderr
    assert LocalClient(workspace).run("digits-1").status == "failed"


def test_a_run_is_repeated_with_the_mlflow_that_it_is_recorded_in(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    recorded = f"http://127.0.0.1:{free_port()}"
    folder = ran(workspace, "digits-1", DIGITS, ["preprocess"], "failed")
    record = read(folder)
    assert record is not None
    replace(record, tracking_uri=recorded).write(workspace.runs)
    monkeypatch.setenv("ELBOFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    words = ["runs", "retry", "digits-1", "--workspace", str(workspace.folder)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert f"the MLflow at {recorded} does not answer" in done.stderr
    named = f"http://127.0.0.1:{free_port()}"
    done = CliRunner().invoke(app, [*words, "--tracking-uri", named])
    assert f"the MLflow at {named} does not answer" in done.stderr
    done = CliRunner().invoke(app, [*words, "--tracking-uri", named, "--no-wait"])
    assert "with --no-wait, a run is repeated in the MLflow that it is recorded in" in done.stderr
    assert done.exit_code == 2


def test_a_run_that_fails_says_how_it_is_repeated(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    def failed(_: Training, __: object, values: PipelineInputs) -> None:
        raise StepError(values.run, "register", "cannot use the MLflow at http://mlflow")

    monkeypatch.setattr(Training, "build", failed)
    monkeypatch.setattr(in_mlflow, "begin", lambda *_: None)
    monkeypatch.setattr(recording, "_finish", lambda *_: None)
    done = CliRunner().invoke(app, ["run", "digits", "--json", "--workspace", str(workspace.folder)])
    run = json.loads(done.stdout)["run"]
    assert re.search(rf"to repeat it from register on: .* runs retry {run} --workspace ", done.stderr)


def test_the_model_of_a_run_that_began_after_its_training_is_that_of_the_run_before(workspace: Workspace):
    folder = ran(workspace, "digits-1", DIGITS, ["preprocess", "train"], "failed")
    (folder / "train" / KEPT).rename(workspace.runs / KEPT)
    (ran(workspace, "digits-2", DIGITS, ["evaluate"], "failed") / "train").mkdir()
    (workspace.runs / KEPT).rename(workspace.runs / "digits-2" / "train" / KEPT)
    done = CliRunner().invoke(
        app, ["generate", "digits-2", "--output", str(workspace.folder / "x.png"), "--workspace", str(workspace.folder)]
    )
    assert f"'{folder}/train/model' holds no finished model" in done.stderr
