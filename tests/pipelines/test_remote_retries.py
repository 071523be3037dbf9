"""What a platform tries again: a step whose machine was taken away, and not a request that was wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from elboflow.testing.platforms.execution import Step
from pipelines.step_process.refusal import REFUSAL
from tests.pipelines.remote import Platform


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("vertex", "kubeflow")])
def platform(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """A platform, left without runs of this test at work."""
    platform: Platform = request.getfixturevalue(request.param)
    before = set(platform.server.runs)
    yield platform
    for id in set(platform.server.runs) - before:
        platform.server.runs[id].execution.close()


def steps(platform: Platform, run: str) -> dict[str, Step]:
    found = platform.server.runs[run].execution.steps.values()
    return {step.name: step for step in found if step.kind == "step"}


def test_a_step_whose_machine_is_taken_away_once_is_tried_again_and_the_run_succeeds(platform: Platform):
    platform.server.faults.rehearsed = True
    platform.server.faults.answers["decide"] = "run"
    platform.server.faults.break_step(3, "is killed")
    done = platform.run()
    assert done.code == 0, done.err
    assert done.result["status"] == "succeeded"
    attempts = {name: step.attempts for name, step in steps(platform, done.result["run"]).items()}
    assert attempts == {"decide": 1, "preprocess": 1, "train": 2, "evaluate": 1, "register": 1, "finish": 1}


def test_as_often_as_the_experiment_says_and_no_more(platform: Platform):
    platform.server.faults.rehearsed = True
    platform.server.faults.answers["decide"] = "run"
    platform.server.faults.break_step(3, "fails")
    platform.target = f"{platform.target[:-1]}, steps: {{train: {{retry: {{attempts: 4, wait_seconds: 0}}}}}}}}"
    done = platform.run()
    assert done.code == 1, done.err
    assert steps(platform, done.result["run"])["train"].attempts == 5


@pytest.mark.slow
@pytest.mark.xdist_group("vertex")
def test_after_a_wrong_request_the_next_tries_end_at_once_with_its_words(vertex: Platform, mlflow_server: str):
    vertex.settings = {"data.source": "{kind: npz, path: /gcs/absent/mnist.npz}"}
    done = vertex.run()
    assert done.code == 1, done.err
    step = steps(vertex, done.result["run"])["preprocess"]
    said = step.log.read_text(encoding="utf-8")
    errors = [line for line in said.splitlines() if line.startswith("[elboflow] error: ")]
    assert len(errors) == step.attempts == 3, said
    assert len(set(errors)) == 1
    assert "/absent/mnist.npz" in errors[0]
    assert "Traceback" not in said
    (left,) = Path(vertex.server.mounts["gs://"]).rglob(REFUSAL)
    assert left.read_text(encoding="utf-8") == errors[0].removeprefix("[elboflow] error: ")
