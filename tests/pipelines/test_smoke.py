"""`run --smoke`: the whole experiment, small, where nothing of it reaches a registry or a person."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from components.tracking import store
from elboflow.settings.variables import TRACKING_URI
from elboflow.testing.platforms.wire import free_port
from pipelines.cli import app
from pipelines.experiment import load
from pipelines.experiment.smoke import reduced
from pipelines.targets.local import cache as caching
from pipelines.targets.local import smoke
from pipelines.targets.local.record import EXPERIMENT as EXPERIMENT_FILE

EXPERIMENT = """
name: wines
data:
  source: {kind: sklearn, dataset: wine}
  features: {alcohol: number, hue: number, label: category}
  splits: {train: 0.98, validation: 0.01, test: 0.01}
model: {input: [alcohol, hue], condition: label, latent: 2, likelihood: product}
training: {epochs: 900, batch_size: 32, micro_batches: 4, ema: 0.9, balance: label}
notify: {kind: command, command: [touch, NOTIFIED], when: end}
schedule: "0 2 * * *"
targets: {local: {tracking_uri: "ADDRESS"}}
"""


@pytest.mark.parametrize("name", ["digits", "table", "text"])
def test_a_smoke_run_keeps_source_features_and_model_of_the_experiment(name: str):
    whole = load(name)
    small = reduced(whole)
    assert (small.data.source, small.data.features, small.model) == (
        whole.data.source, whole.data.features, whole.model
    )  # fmt: skip
    kept = {"optimizer", "learning_rate", "ema", "balance", "weights", "backend", "precision", "non_finite"}
    assert small.training.model_dump(include=kept) == whole.training.model_dump(include=kept)
    assert small.evaluation.evaluators == whole.evaluation.evaluators
    assert small.registry == whole.registry


@pytest.mark.parametrize(("micro_batches", "batch"), [(1, 8), (3, 6), (8, 8), (64, 8)])
def test_a_smoke_run_computes_its_batch_in_parts_as_the_experiment_does(micro_batches: int, batch: int):
    small = reduced(load("digits", ["training.batch_size=192", f"training.micro_batches={micro_batches}"]))
    assert small.training.batch_size == batch
    assert (small.training.micro_batches == 1) == (micro_batches == 1)


def test_an_experiment_for_machines_elsewhere_is_tried_on_this_one():
    small = reduced(
        load("digits", ["training.device=gpu", "training.parallel=2", "training.checkpoints={folder: gs://b/c}"])
    )
    assert (small.training.device, small.training.parallel, small.training.checkpoints.folder) == ("auto", None, None)


@pytest.mark.parametrize(
    "others",
    [["--target", "vertex"], ["--no-wait"], ["--if-changed"], ["--from", "train"], ["--tracking-uri", "http://m"]],
)
def test_a_smoke_run_with_what_it_could_not_mean_is_refused(others: list[str], tmp_path: Path):
    told = CliRunner().invoke(app, ["run", "digits", "--smoke", *others, "--workspace", str(tmp_path / "w")])
    assert told.exit_code == 2
    assert "--smoke: tries the experiment on this machine" in told.output
    assert not (tmp_path / "w").exists()


@dataclass(frozen=True)
class Smoked:
    """A smoke run of an experiment that names an MLflow at which nobody listens, and a command to notify by."""

    folder: Path
    done: Result

    @property
    def result(self) -> dict[str, Any]:
        return json.loads(self.done.stdout.splitlines()[-1])

    @property
    def place(self) -> Path:
        (place,) = (self.folder / "w" / smoke.FOLDER).iterdir()
        return place


@pytest.fixture(scope="module")
def smoked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Smoked]:
    folder, address = tmp_path_factory.mktemp("smoke"), f"http://127.0.0.1:{free_port()}"
    file = folder / "wines.yaml"
    text = EXPERIMENT.replace("ADDRESS", address).replace("NOTIFIED", str(folder / "notified"))
    file.write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", TRACKING_URI):
            patch.setenv(name, address)
        patch.setattr(caching, "code_version", lambda: "1" * 40)  # a checkout without changes
        caching._surroundings.cache_clear()
        yield Smoked(folder, elboflow("run", str(file), "--smoke", "--workspace", str(folder / "w"), "--json"))
    caching._surroundings.cache_clear()


def elboflow(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.mark.slow
def test_a_smoke_run_reaches_neither_the_named_mlflow_nor_a_person(smoked: Smoked):
    assert smoked.done.exit_code == 0, smoked.done.output
    assert "the first 64 examples of each part of the source" in smoked.done.stderr
    assert [path.name for path in (smoked.folder / "w").iterdir()] == [smoke.FOLDER]
    assert Path(smoked.result["report"]).is_file()
    assert Path(smoked.result["report"]).is_relative_to(smoked.place)
    assert not (smoked.folder / "notified").exists()
    client = store.connect(smoked.result["mlflow"]["tracking_uri"])
    assert int(client.get_model_version("wines-vae", "1").version) == 1
    recorded = client.get_run(smoked.result["mlflow"]["run_id"])  # which its training has made
    assert (recorded.info.status, recorded.data.params["training.max_steps"]) == ("FINISHED", "2")


@pytest.mark.slow
def test_the_same_run_again_takes_training_and_evaluation_and_is_whole_in_mlflow(smoked: Smoked):
    first = smoked.result
    experiment = smoked.place / "runs" / first["run"] / EXPERIMENT_FILE
    uri = first["mlflow"]["tracking_uri"]
    done = elboflow("run", str(experiment), "--workspace", str(smoked.place), "--tracking-uri", uri, "--json")
    assert done.exit_code == 0, done.output
    again = json.loads(done.stdout.splitlines()[-1])
    assert {step["name"]: step["reason"] for step in again["steps"]} == {
        "preprocess": f"cached from {first['run']}", "train": f"cached from {first['run']}",
        "evaluate": f"cached from {first['run']}", "register": None,
    }  # fmt: skip
    assert set(again["seconds"]) == {"preprocess", "register", "total"}
    assert again["metrics"] == first["metrics"]
    assert done.stderr.count(f"cached from {first['run']}") == 3
    log = elboflow("logs", again["run"], "--step", "train", "--workspace", str(smoked.place))
    assert log.exit_code == 2
    assert f"which it has not run itself: cached from {first['run']}" in log.stderr
    client = store.connect(uri)
    curves = [client.get_metric_history(run["mlflow"]["run_id"], "train/loss") for run in (first, again)]
    assert [point.value for point in curves[0]] == [point.value for point in curves[1]] != []
    assert (again["mlflow"]["version"], again["mlflow"]["promoted"]) == (2, False)
    assert again["mlflow"]["reason"].startswith("not compared again: version 1 has the same weights")


def test_a_smoke_run_removes_what_the_last_one_left_but_not_one_at_work(tmp_path: Path):
    with smoke.workspace(tmp_path, "digits") as ended:
        pass
    with smoke.workspace(tmp_path, "digits") as at_work, smoke.workspace(tmp_path, "table") as next_one:
        assert not ended.folder.exists()
        assert at_work.folder.exists()
        assert next_one.folder.exists()


@pytest.mark.slow
def test_an_interrupted_smoke_run_promises_no_continuation(tmp_path: Path):
    words = [sys.executable, "-m", "pipelines", "run", "digits", "--smoke", "--until", "preprocess"]
    run = subprocess.Popen([*words, "--workspace", str(tmp_path)], stderr=subprocess.PIPE, encoding="utf-8")
    assert run.stderr is not None
    said = ""
    for line in run.stderr:
        said += line
        if line.startswith("preprocess"):
            run.send_signal(signal.SIGINT)
    assert (run.wait(), said.splitlines()[-1]) == (130, "interrupted; the next smoke run begins anew")
