"""The ends of a pipeline on a platform: whether it runs at all, and what becomes known of how it ended.

The components are run by KFP's own local runner, in an exit handler; what Vertex AI and Kubeflow would tell the exit
task is given as they give it.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kfp import dsl, local
from kfp.dsl import PipelineTaskFinalStatus

from components.config import Command
from components.tracking import store
from elboflow.settings.variables import VERTEX_ENDPOINT
from pipelines.graphs import steps
from pipelines.graphs.steps import IMAGE
from pipelines.step_process.run_outcome import run_outcome as ended
from preprocessing.config import DataConfig
from tests.components.runs import EXPERIMENT, Run, write
from tests.pipelines.google_api import serving

JOB = "projects/123/locations/europe-west4/pipelineJobs/digits-20261121"
DATA = DataConfig.model_validate({"source": "sklearn"})


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(refuses: bool, folder: str) -> None:
    from pathlib import Path

    from elboflow.settings import WorkError
    from pipelines.step_process.process import step

    with step():
        (Path(folder) / "trained").touch()
        if refuses:
            raise WorkError("the loss is not a number")


@dsl.pipeline(name="digits")
def nightly(if_changed: bool, refuses: bool, folder: str, data: str, experiment: str, notify: str, tracking_uri: str):
    finished = steps.finish(
        experiment=experiment,
        run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        console="https://kubeflow.example/#/runs/details/",
        notify=notify,
        tracking_uri=tracking_uri,
    )
    with dsl.ExitHandler(finished):
        decided = steps.decide(
            data=data,
            experiment=experiment,
            if_changed=if_changed,
            run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            tracking_uri=tracking_uri,
        )
        with dsl.If(decided.outputs["Output"] == "run"):
            train(refuses=refuses, folder=folder)


@pytest.fixture(scope="module")
def succeeded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow that holds one success of the digits, `night-1`; copied into by tests under names of their own."""
    from components.preprocess import preprocess

    folder = tmp_path_factory.mktemp("succeeded")
    made = preprocess(DATA, folder / "dataset").manifest
    run = Run("night-1", folder / "dataset", folder / "model", folder / "evaluation")
    write(run, np.random.default_rng(0).normal(-30, 5, made.counts["test"]), "bernoulli", 0)
    tracking_uri = f"sqlite:///{folder}/mlflow.db"
    run.register(tracking_uri)
    return tracking_uri


def telling(folder: Path) -> str:
    """A notification that writes what it is told into a file."""
    program = f"import sys; open({str(folder / 'told.json')!r}, 'w').write(sys.stdin.read())"
    return Command(command=(sys.executable, "-c", program), when="end").model_dump_json()


def run(
    folder: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], **changes: Any
) -> tuple[dict[str, Any], str]:
    """Runs the pipeline; returns what was told of its end, and what was printed."""
    values = {
        "if_changed": True,
        "refuses": False,
        "folder": str(folder),
        "data": DATA.model_dump_json(),
        "experiment": json.dumps(EXPERIMENT),
        "notify": telling(folder),
        "tracking_uri": tracking_uri,
    }
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "runs"), raise_on_error=False)
    nightly(**{**values, **changes})
    said = "".join(capfd.readouterr())
    return json.loads((folder / "told.json").read_text(encoding="utf-8")), said


@pytest.mark.slow
@pytest.mark.xdist_group("mlflow")
def test_a_run_without_a_change_is_skipped_and_said_so(
    tmp_path: Path, succeeded: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    told, said = run(tmp_path, succeeded, monkeypatch, capfd)
    assert not (tmp_path / "trained").exists()
    assert "[elboflow] skip: nothing changed since run night-1 of " in said
    assert told["status"] == "skipped"
    client = store.connect(succeeded)
    (experiment,) = [found for found in client.search_experiments() if found.name == "digits"]
    assert [found.info.run_name for found in client.search_runs([experiment.experiment_id])] == ["night-1"]


@pytest.mark.slow
@pytest.mark.xdist_group("mlflow")
def test_a_run_that_is_to_run_anyway_and_fails_is_in_mlflow_under_its_name(
    tmp_path: Path, succeeded: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    shutil.copy(succeeded.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    tracking_uri = f"sqlite:///{tmp_path}/mlflow.db"
    told, said = run(tmp_path, tracking_uri, monkeypatch, capfd, refuses=True, if_changed=False)
    assert "[elboflow] run: asked to run whether anything changed or not" in said
    assert (tmp_path / "trained").exists()
    assert "[elboflow] error: the loss is not a number" in said
    assert told["status"] == "failed"
    assert told["link"].startswith("https://kubeflow.example/#/runs/details/")
    client = store.connect(tracking_uri)
    found = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    recorded = {each.info.run_name: each for each in found}
    assert set(recorded) == {"night-1", told["run"]}
    assert recorded[told["run"]].info.status == "FAILED"
    assert recorded[told["run"]].data.tags["elboflow.link"] == told["link"]


@pytest.mark.xdist_group("mlflow")
def test_when_mlflow_is_gone_it_is_told_all_the_same_and_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 1000)
    steps.finish.python_func(  # which the platform would call in a process of its own
        status=status("FAILED", "Task train failed.", resource="digits-1"),
        experiment=json.dumps(EXPERIMENT),
        run="n-1",
        job="1",
        console="https://kubeflow.example/#/runs/details/",
        notify=telling(tmp_path),
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
    )
    told = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert (told["status"], told["step"]) == ("failed", "train")
    said = "".join(capfd.readouterr())
    assert said.count("[elboflow] how the run ended is not in MLflow: cannot use the MLflow at") == 1


def status(state: str, message: str | None = None, resource: str = JOB) -> PipelineTaskFinalStatus:
    return PipelineTaskFinalStatus(
        state=state,
        pipeline_job_resource_name=resource,
        pipeline_task_name="exit-handler-1",
        error_code=9 if message else None,
        error_message=message,
    )


LISTED = "The DAG failed because some tasks failed. The failed tasks are: [{}].; Job (project_id = p) is failed."
TASKS = [
    {
        "taskName": "preprocess",
        "state": "SUCCEEDED",
        "startTime": "2026-11-21T02:00:18.5Z",
        "endTime": "2026-11-21T02:01:00Z",
    },
    {"taskName": "train", "state": "FAILED", "endTime": "2026-11-21T02:10:00Z", "error": {"message": "exited with 1"}},
    {"taskName": "condition-1", "state": "FAILED", "endTime": "2026-11-21T02:10:01Z", "error": {"message": "DAG"}},
    {"taskName": "exit-handler-1", "state": "FAILED", "endTime": "2026-11-21T02:10:02Z"},
]


def test_vertex_is_asked_which_step_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    answers = {f"/v1/{JOB}": (200, {"name": JOB, "jobDetail": {"taskDetails": TASKS}})}
    with serving(tmp_path, monkeypatch, answers) as server:
        monkeypatch.setenv(VERTEX_ENDPOINT, server.endpoint)
        found = ended(status("FAILED", LISTED.format("condition-1")), "digits", "n-1", None, f"sqlite:///{tmp_path}/m")
    assert (found.status, found.step, found.reason, found.target) == ("failed", "train", "exited with 1", "vertex")
    assert found.seconds == {"preprocess": 41.5}
    console = "https://console.cloud.google.com/vertex-ai/locations/europe-west4/pipelines/runs"
    assert found.link == f"{console}/digits-20261121?project=123"
    assert server.asked == [f"/v1/{JOB}"]


@pytest.mark.parametrize(
    ("message", "step"),
    [
        (LISTED.format("train"), "train"),
        (LISTED.format("condition-1"), None),
        (LISTED.format("condition-1, evaluate"), "evaluate"),
        ("Task preprocess failed.", "preprocess"),
        ("", None),
    ],
)
def test_where_vertex_cannot_be_asked_the_message_has_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, step: str | None
):
    with serving(tmp_path, monkeypatch, {}) as server:  # knows no job
        monkeypatch.setenv(VERTEX_ENDPOINT, server.endpoint)
        found = ended(status("FAILED", message), "digits", "n-1", None, "unused")
    assert (found.status, found.step, found.reason) == ("failed", step, message or None)


@pytest.mark.xdist_group("mlflow")
@pytest.mark.parametrize(
    ("state", "run", "outcome"),
    [
        ("SUCCEEDED", "night-1", "succeeded"),
        ("COMPLETE", "night-1", "succeeded"),  # old versions of Kubeflow Pipelines have ML Metadata's words
        ("RUNNING", "night-1", "succeeded"),  # or have not noticed yet
        ("SUCCEEDED", "night-2", "skipped"),
        ("RUNNING", "night-2", "failed"),
        ("FAILED", "night-2", "failed"),
        ("CANCELED", "night-2", "cancelled"),
        ("CANCELLED", "night-2", "cancelled"),
    ],
)
def test_every_state_of_every_platform_is_an_ending(succeeded: str, state: str, run: str, outcome: str):
    found = ended(status(state, resource="digits-1"), "digits", run, "https://kubeflow.example/1", succeeded)
    assert (found.status, found.link) == (outcome, "https://kubeflow.example/1")


@pytest.mark.xdist_group("mlflow")
def test_a_success_is_one_also_when_mlflow_is_gone(tmp_path: Path):
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 1000)
    found = ended(status("SUCCEEDED"), "digits", "n-1", None, f"sqlite:///{tmp_path}/mlflow.db")
    assert found.status == "succeeded"
