"""What a registration leaves in MLflow, also when it is killed, repeated, or not alone."""

import importlib.metadata
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from components.register import Registration
from components.registry.decisions import history_run
from components.registry.decisions.history import LINE
from components.tracking import store
from components.tracking.notes import NOTE
from components.tracking.parameters import config_digest
from elboflow import artifacts
from elboflow.settings import RequestError, WorkError
from pipelines.cli import app
from pipelines.graphs import steps
from tests.components.runs import EXPERIMENT, Run, write
from tests.opened import examples, opened

pytestmark = pytest.mark.xdist_group("mlflow")

Written = Callable[..., Run]

# A registration in a process of its own; it ends by SIGKILL before the named method of the client, if one is named.
ALONE = """
import os, signal, sys
from pathlib import Path
dataset, model, evaluation, run, tracking_uri, killed_before = sys.argv[1:]
from components.config import RegistryConfig
from components.register import register
if killed_before:
    import mlflow
    setattr(mlflow.MlflowClient, killed_before, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
plain = RegistryConfig(canary=False, baseline=False)
registered = register(dataset, model, evaluation, plain, {"name": "digits"}, run, tracking_uri)
frameworks = {"tensorflow", "jax", "torch", "keras", "apache_beam"} & set(sys.modules)
print(registered.version, sorted(frameworks))
"""


def alone(run: Run, tracking_uri: str, killed_before: str = "") -> "subprocess.Popen[str]":
    folders = [str(run.dataset), str(run.model), str(run.evaluation)]
    command = [sys.executable, "-c", ALONE, *folders, run.name, tracking_uri, killed_before]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")


@dataclass(frozen=True)
class Registered:
    """A registered run, for tests that only look at it."""

    run: Run
    registration: Registration
    tracking_uri: str
    workspace: Path


@pytest.fixture(scope="module")
def registered(dataset: Path, empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Registered:
    workspace = tmp_path_factory.mktemp("registered")
    shutil.copy(empty_database, workspace / "mlflow.db")
    tracking_uri = f"sqlite:///{workspace}/mlflow.db"
    run = Run("night-1", dataset, workspace / "night-1/model", workspace / "night-1/evaluation")
    write(run, np.full(opened(dataset).manifest.counts["test"], -30.0), "bernoulli", seed=0)
    tagged = {**run.experiment, "tags": {"month": "{date:%m}"}}
    return Registered(run, run.register(tracking_uri, tagged, date="2026-11-28"), tracking_uri, workspace)


def test_the_run_holds_all_that_belongs_to_it(registered: Registered) -> None:
    from mlflow.artifacts import list_artifacts, load_text

    run, run_id, tracking_uri = registered.run, registered.registration.run_id, registered.tracking_uri
    client = store.connect(tracking_uri)
    recorded = client.get_run(run_id)
    manifest = opened(run.dataset).manifest
    digest = manifest.digest
    assert manifest.distinct is not None

    assert (recorded.info.run_name, recorded.info.status) == ("night-1", "FINISHED")
    assert (recorded.data.tags["elboflow.date"], recorded.data.tags["month"]) == ("2026-11-28", "11")
    assert client.get_experiment(recorded.info.experiment_id).name == "digits"
    encoder = {"model.encoder.kind": "mlp", "model.encoder.hidden": "[32]"}
    assert recorded.data.params == {"name": "digits", "seed": "0", "model.latent": "4", **encoder}
    assert recorded.data.metrics["test/elbo"] == -30
    table = client.load_table(recorded.info.experiment_id, "metrics.json", [run_id])
    assert table[["value", "low", "high"]][table["metric"] == "elbo"].to_numpy().tolist() == [[-30, -31, -29]]
    assert {name for name in recorded.data.metrics if name.startswith("test/")} == {
        f"test/{m}" for m in table["metric"]
    }
    curve = client.get_metric_history(run_id, "validation/elbo")
    assert [(point.step, point.value) for point in curve] == [(1, -40), (2, -30)]
    assert {d.dataset.name: d.dataset.digest for d in recorded.inputs.dataset_inputs} == {
        "digits-train": digest[:36],
        "digits-validation": digest[:36],
        "digits-test": digest[:36],
    }
    rows = [json.loads(found.dataset.profile) for found in recorded.inputs.dataset_inputs]
    counts = [(manifest.counts[split], manifest.distinct[split]) for split in ("train", "validation", "test")]
    assert sorted((of["num_rows"], of["num_distinct"]) for of in rows) == sorted(counts)
    (train,) = (found.dataset for found in recorded.inputs.dataset_inputs if found.dataset.name == "digits-train")
    profile = json.loads(train.profile)
    assert profile["image"] == "8 × 8 × 1, 17 levels; mean 4.873, std 6.014, min 0, max 16"
    assert profile["label"] == "10 levels; 133 to 149 of each that occurs"
    columns = {column["name"]: column["type"] for column in json.loads(train.schema)["mlflow_colspec"]}
    assert columns == {"image": "array", "label": "long"}
    evaluation = {file.path for file in list_artifacts(run_id=run_id, artifact_path="evaluation")}
    assert {"evaluation/report.html", "evaluation/examples.npz", "evaluation/metrics.json"} <= evaluation
    # MLflow's page lists folders before files: what a person opens are the only files.
    assert {file.path for file in list_artifacts(run_id=run_id) if not file.is_dir} == {"metrics.json", "report.html"}
    artifact_uri = recorded.info.artifact_uri
    assert json.loads(load_text(f"{artifact_uri}/lineage/experiment.json"))["model"]["latent"] == 4
    assert json.loads(load_text(f"{artifact_uri}/lineage/dataset.json"))["digest"] == digest


def test_the_report_in_mlflow_says_experiment_run_date_version_and_verdict(
    written: Written, values: np.ndarray, tracking_uri: str, tmp_path: Path
) -> None:
    from mlflow.artifacts import load_text

    reports = []
    for name, change in (("night & day", 0), ("second", -1)):
        page = tmp_path / "registration" / f"{name}.html"
        registered = written(name, values + change).register(tracking_uri, report=page)
        recorded = store.connect(tracking_uri).get_run(registered.run_id)
        report = load_text(f"{recorded.info.artifact_uri}/report.html")
        assert page.read_text(encoding="utf-8") == report
        began = datetime.fromtimestamp(recorded.info.start_time / 1000, UTC)
        assert f"of the experiment digits, begun {began:%Y-%m-%d %H:%M} UTC" in report
        reports.append(report)
    first, second = reports
    assert "<title>digits-vae version 1 (promoted to champion), night &amp; day</title>" in first
    assert "<h1>digits-vae version 2: not promoted</h1>" in second
    assert "Worse than version 1, the champion: -1.000 nats" in second


@pytest.mark.slow
@pytest.mark.parametrize("place", ["platform", "this machine"])
def test_a_step_on_a_platform_tells_the_addresses_that_a_run_of_this_machine_ends_with(
    place: str,
    written: Written,
    values: np.ndarray,
    mlflow_server: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if place == "this machine":
        monkeypatch.setenv("ELBOFLOW_STEP_SECONDS", "{}")
    run = written(f"told on {place}", values)
    folders = {"dataset": run.dataset, "model": run.model, "evaluation": run.evaluation}
    registration = SimpleNamespace(path=str(tmp_path / "registration"), metadata={})
    steps.register.python_func(
        **{name: SimpleNamespace(path=str(folder)) for name, folder in folders.items()},
        registry='{"model": "told vae"}',
        experiment=json.dumps(run.experiment),
        run=run.name,
        tracking_uri=mlflow_server,
        registration=registration,
    )
    made = registration.metadata
    told = [
        f"[elboflow] MLflow: {mlflow_server}/#/runs/{made['run_id']}",
        f"[elboflow]         {mlflow_server}/#/models/told%20vae/versions/{made['version']}",
    ]
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if mlflow_server in line] == (told if place == "platform" else [])


@pytest.mark.slow
def test_a_registration_by_hand_ends_with_the_addresses_of_run_and_version_and_is_seen_at_work(
    written: Written, values: np.ndarray, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = written("by hand", values)
    folders = ("--dataset", run.dataset, "--model", run.model, "--evaluation", run.evaluation)
    model = "model={input: image, latent: 4, encoder: {kind: mlp, hidden: [32]}}"
    settings = ("registry=mine", model, "training={}", "evaluation={bound_samples: 5, bootstrap_samples: 100}")
    words = [*folders, "--tracking-uri", mlflow_server, *(word for each in settings for word in ("--set", each))]
    done = CliRunner().invoke(app, ["step", "register", "digits", *map(str, words)])
    assert done.exit_code == 0, done.stderr
    made = json.loads(done.stdout)
    assert done.stderr.splitlines()[-2:] == [
        f"MLflow: {mlflow_server}/#/runs/{made['run_id']}",
        f"        {mlflow_server}/#/models/mine/versions/{made['version']}",
    ]
    monkeypatch.setattr(Console, "is_terminal", True)
    shown = CliRunner().invoke(app, ["step", "register", "digits", *map(str, words)]).stderr
    assert re.search(r"register 0:00:0\d", re.sub(r"\x1b\[[\d;?]*\w", "", shown))
    words = [*map(str, folders[:4]), "--output", str(run.evaluation.with_name("other")), "--set", settings[1]]
    shown = CliRunner().invoke(app, ["step", "evaluate", "digits", *words]).stderr  # there is no network in it
    assert re.search(r"evaluate 0:00:0\d", re.sub(r"\x1b\[[\d;?]*\w", "", shown))


def test_the_version_is_linked_to_run_data_and_code(registered: Registered) -> None:
    run = registered.run
    version = store.connect(registered.tracking_uri).get_model_version("digits-vae", "1")
    assert version.run_id == registered.registration.run_id
    assert version.tags.pop(LINE).startswith("1 ")
    assert version.tags == {
        "elboflow.experiment": "digits",
        "elboflow.run": "night-1",
        "elboflow.dataset": opened(run.dataset).manifest.digest,
        "elboflow.config": config_digest(EXPERIMENT),
        "elboflow.code": "0" * 40,
        "elboflow.weights": artifacts.sha256(run.model / "model.keras"),
        "elboflow.promoted": "true",
        "elboflow.reason": registered.registration.reason,
    }


def test_the_model_says_what_it_takes(registered: Registered) -> None:
    import mlflow

    store.use(registered.tracking_uri)
    model = mlflow.models.get_model_info("models:/digits-vae@champion")
    assert model.metadata["features"]["image"]["shape"] == [8, 8, 1]
    assert model.metadata["features"]["image"]["facts"] == {"range": [0, 16]}
    assert model.signature.inputs is None  # with one, MLflow would refuse all types but its
    (images,) = model.signature.outputs.inputs
    assert (images.type, images.shape) == (np.dtype("float32"), (-1, 8, 8, 1))
    assert {param.name: param.default for param in model.signature.params} == {
        "task": "reconstruct",
        "samples": 100,
        "seed": 0,
        "count": 1,
    }
    example = mlflow.models.Model.load("models:/digits-vae@champion").load_input_example()
    np.testing.assert_array_equal(example, examples(registered.run.dataset, "test").features["image"][:2])


@pytest.mark.parametrize("leftover", [".examples.npz.a1b2c3d4.unfinished", "notes.txt", "figures/notes.txt"])
def test_what_else_lies_in_a_folder_stays_out_of_mlflow(
    written: Written, values: np.ndarray, tracking_uri: str, tmp_path: Path, leftover: str
) -> None:
    run = written("night-1", values)
    for folder in (run.model, run.evaluation):
        (folder / leftover).parent.mkdir(exist_ok=True)
        (folder / leftover).write_text("not part of it", encoding="utf-8")
    run.register(tracking_uri)
    kept = [path for path in (tmp_path / "workspace/mlartifacts").rglob("*") if path.is_file()]
    assert "not part of it" not in [path.read_text(errors="replace") for path in kept]
    for folder, name in ((run.model, "model"), (run.evaluation, "evaluation")):
        (copy,) = {path.parent for path in kept if path.name == f"{name}.json"}
        files = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
        assert files == {*artifacts.load(folder, name)["files"], f"{name}.json"}


def test_the_model_requires_the_tensorflow_that_is_installed(
    written: Written, values: np.ndarray, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    def requirement(name: str, values: np.ndarray) -> list[str]:
        registered = written(name, values).register(tracking_uri)
        lines = Path(mlflow.pyfunc.get_model_dependencies(f"models:/digits-vae/{registered.version}")).read_text(
            encoding="utf-8"
        )
        return [line for line in lines.split() if line.startswith("tensorflow")]

    (before,) = requirement("night-1", values)
    name, _, version = before.partition("==")
    assert importlib.metadata.version(name) == version

    installed = tmp_path / "gpu/tensorflow-2.99.dist-info"  # as on macOS and on machines with a GPU
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorflow\nVersion: 2.99\n", encoding="utf-8")
    (installed / "top_level.txt").write_text("tensorflow\n", encoding="utf-8")
    monkeypatch.syspath_prepend(installed.parent)
    assert requirement("night-2", values) == ["tensorflow==2.99"]


def test_nothing_in_mlflow_is_a_pickle(registered: Registered) -> None:
    files = [path for path in (registered.workspace / "mlartifacts").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".joblib")]
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80"]  # how every pickle since protocol 2 begins


def test_registering_a_run_again_changes_nothing(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    run = written("night-1", values)
    first = run.register(tracking_uri)
    written("night-2", values + 1).register(tracking_uri)
    before = everything(tracking_uri)
    assert run.register(tracking_uri) == first
    assert everything(tracking_uri) == before


MOMENTS = (
    "log_batch",
    "log_inputs",
    "log_artifacts",
    "log_text",
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "log_outputs",
    "set_registered_model_tag",
    "set_model_version_tag",
    "set_registered_model_alias",
    "delete_registered_model_tag",
    "set_tag",
    "update_model_version",
    "update_registered_model",
    "set_terminated",
)
"""The client's methods that write, by their first call of a registration."""


@pytest.mark.slow
def test_a_registration_that_breaks_off_at_every_write_goes_on_without_duplicates(
    written: Written, values: np.ndarray, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run = written("night-1", values)
    for moment in MOMENTS:
        with monkeypatch.context() as patch:
            patch.setattr(mlflow.MlflowClient, moment, stop)
            with pytest.raises(KeyboardInterrupt):
                run.register(tracking_uri)
    registered = run.register(tracking_uri)
    assert (registered.version, registered.promoted) == (1, True)
    assert registered.reason == "no version of digits-vae was the champion when it came"
    found = everything(tracking_uri)
    assert (found["runs"], found["models"], found["versions"]) == (1, 1, 1)
    assert found["histories"] == ["FINISHED"]
    assert len(found["points"]) == len(set(found["points"]))


@pytest.mark.slow
def test_a_killed_registration_goes_on_and_holds_no_lock(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    run = written("night-1", values)
    process = alone(run, tracking_uri, killed_before="log_model_artifacts")
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert run.register(tracking_uri).version == 1
    found = everything(tracking_uri)
    assert (found["runs"], found["models"], found["versions"]) == (1, 1, 1)


@pytest.mark.slow
def test_two_registrations_at_once_make_one_database_and_two_versions_without_a_framework(
    written: Written, values: np.ndarray, tmp_path: Path
) -> None:
    tracking_uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    processes = [alone(written(name, values), tracking_uri) for name in ("night-1", "night-2")]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sorted(output for output, _ in outputs) == ["1 []\n", "2 []\n"]
    assert everything(tracking_uri)["runs"] == 2


def test_a_run_name_belongs_to_one_model(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    written("night-1", values).register(tracking_uri)
    other = written("other", values)
    with pytest.raises(RequestError, match=r"'night-1' was registered with another model .*--run NAME"):
        Run("night-1", other.dataset, other.model, other.evaluation).register(tracking_uri)


def test_an_evaluation_of_another_model_is_refused(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    run, other = written("night-1", values), written("other", values, likelihood="categorical")
    mixed = Run("mixed", run.dataset, run.model, other.evaluation)
    with pytest.raises(RequestError, match="is not an evaluation of the model"):
        mixed.register(tracking_uri)


def test_a_model_of_another_dataset_is_refused(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    run = written("night-1", values)
    facts = artifacts.load(run.model, "model")
    facts["provenance"]["dataset"] = "0" * 64
    artifacts.commit(run.model, "model", facts, facts["files"])
    with pytest.raises(RequestError, match="was trained on another dataset than"):
        run.register(tracking_uri)


@pytest.mark.parametrize("file", ["model/model.keras", "evaluation/examples.npz"])
def test_a_damaged_folder_is_not_registered(
    written: Written, values: np.ndarray, tracking_uri: str, tmp_path: Path, file: str
) -> None:
    run = written("night-1", values)
    damaged = tmp_path / "night-1" / file
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    with pytest.raises(WorkError, match=f"{damaged} is corrupted"):
        run.register(tracking_uri)
    assert everything(tracking_uri)["runs"] == 0


def test_a_damaged_database_is_named(written: Written, values: np.ndarray, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(b"this is no database" * 1000)
    with pytest.raises(WorkError, match=f"cannot use the MLflow at sqlite:///{database}: .*file is not a database"):
        written("night-1", values).register(f"sqlite:///{database}")


def test_a_database_that_cannot_be_written_is_named(written: Written, values: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RequestError, match=f"cannot write MLflow's database to {tmp_path}/file/mlflow.db"):
        written("night-1", values).register(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_a_deleted_experiment_is_not_written_to(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    run = written("night-1", values)
    run.register(tracking_uri)
    client = store.connect(tracking_uri)
    client.delete_experiment(client.get_experiment_by_name("digits").experiment_id)
    with pytest.raises(RequestError, match="mlflow experiments restore"):
        written("night-2", values).register(tracking_uri)


def everything(tracking_uri: str) -> dict[str, Any]:
    """How much of each thing an MLflow holds, all points of all curves, and all texts on its pages."""
    client = store.connect(tracking_uri)
    experiments = [found.experiment_id for found in client.search_experiments() if found.name != history_run.EXPERIMENT]
    kept = client.get_experiment_by_name(history_run.EXPERIMENT)
    runs = client.search_runs(experiments)
    versions, models = client.search_model_versions(), client.search_registered_models()
    points = [
        (run.info.run_id, metric, point.step, point.value)
        for run in runs
        for metric in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, metric)
    ]
    return {
        "runs": len(runs),
        "histories": [run.info.status for run in client.search_runs([kept.experiment_id])] if kept else [],
        "models": len(client.search_logged_models(experiments)),
        "versions": len(versions),
        "points": points,
        "tags": {version.version: (version.tags, version.aliases) for version in versions},
        "texts": [described.description for described in (*versions, *models)],
        "notes": [run.data.tags.get(NOTE) for run in runs],
    }
