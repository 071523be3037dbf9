"""`elboflow step … --from-run RUN`: the settings and the folders that a step had in a run, on one's own machine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from components.surroundings import environment
from elboflow.settings import RequestError, WorkError
from elboflow.vae import folder as models
from pipelines.cli import app
from pipelines.commands.from_run import Asked, resolved
from pipelines.experiment import Experiment, load
from pipelines.step_process import messages
from pipelines.targets import RunState
from pipelines.targets.local.record import EXPERIMENT
from pipelines.targets.local.screen import LOG
from pipelines.targets.recorded_step import (
    RecordedStep,
    as_given,
    fetched,
    on_platform,
    require_date,
    require_trial,
)
from pipelines.targets.submission import job
from pipelines.workspace import Workspace
from tests.pipelines.remote import Platform
from tests.pipelines.test_parts import ran

NOTHING = {"dataset": None, "model": None}
THERE = {"code": "a" * 40, "Python": "3.11.0", "packages": {"keras": "3.14.0", "gone": "1"}}


def elboflow(*words: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run in which a step failed."""
    folder = ran(Workspace(tmp_path), "digits-1", load("digits", ["seed=7"]), ["preprocess", "train"], "failed")
    (folder / "evaluate").mkdir()
    line = environment.MARK + json.dumps(THERE)
    (folder / "evaluate" / LOG).write_text(f"a warning\n{line}\n[elboflow] error: no\n", encoding="utf-8")
    return folder


def test_a_step_of_a_local_run_gives_its_experiment_and_its_folders(run: Path, tmp_path: Path):
    experiment, folders = resolved(
        Asked("evaluate", None, ["evaluation.bound_samples=3"], None, NOTHING), "latest", "local", tmp_path
    )
    assert (experiment.seed, experiment.evaluation.bound_samples) == (7, 3)
    assert folders == {"dataset": str(run / "preprocess" / "dataset"), "model": str(run / "train" / "model")}


def test_what_differs_here_is_said(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    resolved(Asked("evaluate", None, (), None, NOTHING), "digits-1", "local", tmp_path)
    told = capsys.readouterr().err
    here = environment.environment()
    assert f"code: {'a' * 40} there, {here['code']} here" in told
    assert f"keras: 3.14.0 there, {here['packages']['keras']} here" in told
    assert "gone: 1 there, none here" in told
    assert environment.differences(here, environment.environment()) == []


def test_a_folder_that_the_command_names_takes_the_place_of_the_run_s(run: Path, tmp_path: Path):
    _, folders = resolved(
        Asked("evaluate", None, (), None, {"dataset": None, "model": tmp_path}), "digits-1", "local", tmp_path
    )
    assert folders["model"] == str(tmp_path)


def test_inputs_that_are_gone_or_unknown_are_named_with_the_option_that_gives_them(run: Path, tmp_path: Path):
    (run / "train" / "model").rmdir()
    with pytest.raises(
        RequestError, match=r"train/model: the model that the step read is gone; another place: --model"
    ):
        resolved(Asked("evaluate", None, (), None, NOTHING), "digits-1", "local", tmp_path)
    (run / "train" / "outputs.json").unlink()
    with pytest.raises(WorkError, match=r"does not say which model it read; give it: --model DIR"):
        resolved(Asked("evaluate", None, (), None, NOTHING), "digits-1", "local", tmp_path)
    with pytest.raises(RequestError, match=r"is in a store of the cluster, which this machine cannot read"):
        fetched("model", "minio://mlpipeline/v2/model", tmp_path)


def test_a_secret_that_was_masked_in_the_settings_is_not_guessed(run: Path, tmp_path: Path):
    text = (run / EXPERIMENT).read_text(encoding="utf-8")
    (run / EXPERIMENT).write_text(text.replace("digits-vae", "***"), encoding="utf-8")
    with pytest.raises(RequestError, match="held a secret, which is not kept"):
        resolved(Asked("evaluate", None, (), None, NOTHING), "digits-1", "local", tmp_path)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "--output", "m"], "EXPERIMENT: missing; give one, or a run whose step is to be repeated"),
        (["train", "digits", "--output", "m"], "--dataset: missing; give it, or a run whose step is to be repeated"),
        (["evaluate", "digits", "--dataset", ".", "--output", "m"], "--model: missing"),
        (["register", "digits"], "--dataset, --model, --evaluation: missing"),
        (["train", "digits", "--dataset", ".", "--output", "m", "--target", "vertex"], "which is missing"),
        (["train", "--from-run", "digits-9", "--output", "m"], "there is no run 'digits-9'"),
        (["train", "--from-run", "x", "--target", "vertex", "--output", "m"], "has not been used with vertex yet"),
    ],
)
def test_what_is_missing_is_one_sentence_and_nothing_is_made(words: list[str], says: str, tmp_path: Path):
    done = elboflow("step", *words, "--workspace", tmp_path / "w")
    assert done.exit_code == 2
    assert says in done.stderr
    assert not Path("m").exists()


def test_the_inputs_of_the_tries_are_read_from_a_log():
    begun = "[KFP Executor 2026-11-30 12:00:00,000 INFO]: Got executor_input:"
    tries = [[begun, "{", f'  "inputs": {number}', "}", "text"] for number in (1, 2)]
    lines = [line for each in tries for line in each]
    assert messages.executor_inputs([*lines, begun, "{", "cut"]) == [{"inputs": 1}, {"inputs": 2}]
    assert messages.executor_inputs([]) == []


@dataclass(frozen=True)
class Kept:
    """What a platform keeps of a run: the compiled pipeline and the logs of the steps."""

    specification: dict[str, Any]
    logged: Mapping[str, list[str]]
    name: str = "kubeflow"

    def compiled(self, id: str) -> dict[str, Any]:
        return self.specification

    def logs(self, id: str, step: str | None = None) -> list[str]:
        return self.logged.get(str(step), [])


RUN = RunState("run-1", "text", "kubeflow", "succeeded")


def started_with(**parameters: Any) -> list[str]:
    """The lines that KFP's executor writes where a step begins."""
    given = {"inputs": {"parameterValues": parameters}}
    return [
        "[KFP Executor 2026-11-30 12:00:00,000 INFO]: Got executor_input:",
        *json.dumps(given, indent=4).split("\n"),
    ]


def test_a_step_of_a_dated_run_on_a_platform_has_the_date_of_the_run():
    target = "targets.kubeflow={image: 'i/x:1', tracking_uri: 'http://m', host: 'http://k'}"
    dated = load("text", ["data.source.path=gs://bucket/{date}/*.rst", target])
    specification = yaml.safe_load(job(dated, "kubeflow").specification or "")
    there = Kept(specification, {"decide": started_with(date="2026-11-03"), "train": started_with(seed=7.0)})
    recorded = on_platform(there, RUN, "train")
    assert (recorded.experiment["date"], recorded.experiment["seed"]) == ("2026-11-03", 7)
    forgotten = on_platform(Kept(specification, {}), RUN, "train")
    require_date(Experiment.model_validate({**forgotten.experiment, "date": "2026-11-04"}), "run-1")
    with pytest.raises(WorkError, match=r"log of run-1 does not say of which date its data were; give it: --date DATE"):
        require_date(Experiment.model_validate(forgotten.experiment), "run-1")


def test_a_step_of_a_sweep_has_the_settings_of_a_trial_that_the_command_names():
    base = load("digits")
    trials = tuple({"training.batch_size": size, "model.latent": 2} for size in (64, 256))
    recorded = RecordedStep(base.recorded(), {}, None, trials=trials)
    named = ["model.latent=2", "training.batch_size=256"]
    keys = ["model.latent", "training.batch_size"]
    require_trial(recorded, load("digits", named), keys, "digits-1")
    for wrong, assigned in [(base, []), (load("digits", named), keys[:1]), (load("digits", [*named, "seed=3"]), keys)]:
        with pytest.raises(RequestError, match="digits-1 is a sweep; say which of its trials, by its values") as raised:
            require_trial(recorded, wrong, assigned, "digits-1")
        assert "--set training.batch_size=64 --set model.latent=2, or --set training.batch_size=256" in str(
            raised.value
        )
    require_trial(RecordedStep(base.recorded(), {}, None), base, [], "digits-1")  # no sweep


def test_what_a_sweep_evaluates_and_registers_is_the_best_trial_s():
    best = load("digits", ["training.batch_size=64", "seed=3"])
    given = {"registry": best.registry.model_dump_json(), "experiment": json.dumps(best.recorded())}
    assert Experiment.model_validate(as_given(load("digits").recorded(), given)) == best
    evaluated = as_given(load("digits").recorded(), {"settings": best.evaluation.model_dump_json(), "seed": 3.0})
    assert (evaluated["seed"], evaluated["training"]) == (3, load("digits").recorded()["training"])


def trained_again(platform: Platform, run: str, output: Path, *words: str) -> Result:
    step = ["step", "train", "--from-run", run, "--target", platform.name, "--workspace", str(platform.workspace)]
    return CliRunner().invoke(app, [*step, "--output", str(output), *words], env=platform.environment)


@pytest.mark.slow
@pytest.mark.xdist_group("vertex")
def test_steps_of_a_run_on_vertex_are_repeated_here_with_the_same_result(
    vertex: Platform, mlflow_server: str, storage_server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    vertex.target = f"{vertex.target[:-1]}, steps: {{train: {{machine: n1-standard-8}}}}}}"
    done = vertex.run()
    assert done.code == 0, done.err
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_server.url)
    again = trained_again(vertex, done.result["run"], tmp_path / "model")
    assert again.exit_code == 0, again.output
    assert "image: registry.example/python-elboflow:1 there, this machine's own Python here" in again.stderr
    assert "code: " not in again.stderr, "the server's steps run this code"
    evaluate = ["step", "evaluate", "--from-run", done.result["run"], "--target", "vertex"]
    evaluated = vertex.do(
        ["", "", "", *evaluate, "--workspace", str(vertex.workspace), "--output", str(tmp_path / "e")]
    )
    assert evaluated.code == 0, evaluated.err
    fetched_model = vertex.workspace / "fetched" / done.result["run"] / "model"
    assert models.load(fetched_model).weights == models.load(tmp_path / "model").weights


@pytest.mark.slow
@pytest.mark.xdist_group("kubeflow")
def test_steps_of_a_run_on_kubeflow_are_repeated_here_with_copies_from_the_cluster_s_store(
    kubeflow: Platform, mlflow_server: str, tmp_path: Path
):
    done = kubeflow.run()
    assert done.code == 0, done.err
    refused = trained_again(kubeflow, done.result["run"], tmp_path / "model")
    assert refused.exit_code == 2
    assert "--dataset DIR" in refused.stderr
    uri = refused.stderr.partition("error: ")[2].partition(": the dataset")[0]
    store = kubeflow.server.mounts["minio://"]
    copied = uri.replace("minio://", store)
    again = trained_again(kubeflow, done.result["run"], tmp_path / "model", "--dataset", copied)
    assert again.exit_code == 0, again.output
    (there,) = Path(store).glob(f"**/{Path(uri).parts[-3]}/train/model/model.json")
    assert models.load(there.parent).weights == models.load(tmp_path / "model").weights
