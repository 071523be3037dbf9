"""Steps of a graph on this machine, in real processes: retries, time, refusals, kills, and what passes between them."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from elboflow.settings.variables import MESSAGE_SECRET
from pipelines.experiment import load
from pipelines.experiment.machines import LocalStep, Retry
from pipelines.graphs import PipelineInputs, Take
from pipelines.graphs.steps import IMAGE
from pipelines.step_process import messages
from pipelines.targets import StepState
from pipelines.targets.local import artifacts
from pipelines.targets.local.executor import StepProcess
from pipelines.targets.local.runner import DoneError, Runner, StepError
from pipelines.targets.local.screen import Screen
from pipelines.targets.submission import specification
from tests.pipelines.compiled import TARGETS, Compiled


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def preprocess(words: str, dataset: dsl.Output[dsl.Dataset]) -> int:
    """Writes words, and returns how many there are."""
    from pipelines.step_process.process import step

    with step(dataset.path):
        from pathlib import Path

        Path(dataset.path).write_text(words, encoding="utf-8")
        dataset.metadata.update(language="en")
        return len(words.split())


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(dataset: dsl.Input[dsl.Dataset], count: int, evaluation: dsl.Output[dsl.Artifact]) -> None:
    """Counts the words, and compares."""
    from pipelines.step_process.process import step

    with step(evaluation.path):
        from pathlib import Path

        found = len(Path(dataset.path).read_text(encoding="utf-8").split())
        text = f"{found == count} {type(count).__name__} {dataset.metadata['language']}"
        Path(evaluation.path).write_text(text, encoding="utf-8")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(body: str, folder: str, model: dsl.Output[dsl.Model]) -> None:
    """Notes each time that it is at work, and does what it is told."""
    from pathlib import Path

    from elboflow.settings import RequestError, WorkError
    from pipelines.step_process.process import step

    with step(model.path):
        with (Path(folder) / "tries").open("a") as tries:
            tries.write("x")
        exec(body, {"RequestError": RequestError, "WorkError": WorkError})


@dataclass(frozen=True)
class Counting:
    """A second pipeline, of two steps: all that one costs."""

    name: str = "count"
    description: str = "Counts words."
    steps: tuple[str, ...] = ("preprocess", "evaluate")
    skips: bool = False
    trains_once: bool = False
    loops: bool = False

    def build(self, take: Take, values: PipelineInputs) -> None:
        counted = take(preprocess, cached=False, words=f"the words of {values.name}").outputs
        take(evaluate, dataset=counted["dataset"], count=counted["Output"])


@pytest.fixture
def moves() -> list[list[StepState]]:
    return []


@pytest.fixture
def runner(tmp_path: Path, moves: list[list[StepState]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    key = messages.new_key()
    monkeypatch.setenv(MESSAGE_SECRET, key)
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    settings = {"train": LocalStep(retry=Retry(attempts=2, wait_seconds=0))}

    def start(step: Any, given: Any) -> StepProcess:
        return StepProcess(step, given, tmp_path)

    with Screen(key) as screen:
        yield Runner(
            "digits-1",
            tmp_path / "run",
            screen,
            lambda step: settings.get(step, LocalStep()),
            start,
            lambda steps: moves.append(list(steps)),
        )


VALUES = PipelineInputs.of(load("digits"), run="digits-1", dataset_root="", tracking_uri="")


def test_a_second_pipeline_is_one_class_here_and_on_both_platforms(runner: Runner, moves: list[list[StepState]]):
    Counting().build(runner.take, VALUES)
    assert Path(runner.artifacts["evaluation"].uri).read_text(encoding="utf-8") == "True int en"
    assert [(step.name, step.status) for step in moves[-1]] == [("preprocess", "succeeded"), ("evaluate", "succeeded")]
    assert list(runner.seconds) == ["preprocess", "evaluate"]
    for target, settings in TARGETS.items():
        experiment = load("digits", [f"targets.{target}={settings}"])
        compiled = Compiled(specification(experiment, target, Counting()))
        assert compiled.spec.pipeline_info.name == "digits-count"
        assert set(compiled.tasks) == {"preprocess", "evaluate", "finish"}


def test_what_a_step_returned_does_not_stay_and_its_artifacts_are_kept(runner: Runner, tmp_path: Path):
    Counting().build(runner.take, VALUES)
    assert not list(tmp_path.rglob(artifacts.OUTPUT))
    kept = artifacts.kept(tmp_path / "run" / "preprocess")
    assert kept == {"dataset": runner.artifacts["dataset"]}
    assert artifacts.kept(tmp_path / "run" / "absent") is None


def test_what_an_earlier_run_made_is_of_this_run_too(runner: Runner, tmp_path: Path):
    earlier = {"dataset": artifacts.Artifact("dataset", "system.Dataset", str(tmp_path / "earlier"))}
    runner.kept = {"preprocess": earlier}
    with pytest.raises(StepError, match="what the earlier run made has been removed; begin with this step"):
        runner.take(preprocess, words="of no use")
    (tmp_path / "earlier").mkdir()
    runner.take(preprocess, words="of no use")
    assert artifacts.of_run(tmp_path / "run") == runner.artifacts == earlier


def test_a_run_ends_after_the_step_that_it_was_asked_to_end_with(runner: Runner):
    runner.until = "preprocess"
    with pytest.raises(DoneError):
        Counting().build(runner.take, VALUES)
    assert list(runner.artifacts) == ["dataset"]


def tried(runner: Runner, body: str, tmp_path: Path) -> tuple[str, int]:
    """Returns why a step failed, and how often it was at work."""
    with pytest.raises(StepError) as caught:
        runner.take(train, body=body, folder=str(tmp_path))
    return caught.value.reason, len((tmp_path / "tries").read_text(encoding="utf-8"))


def test_work_that_failed_is_tried_again_and_a_wrong_request_is_not(runner: Runner, tmp_path: Path):
    assert tried(runner, "raise WorkError('the network is down')", tmp_path) == ("the network is down", 3)
    (tmp_path / "tries").unlink()
    assert tried(runner, "raise RequestError('jax is not installed')", tmp_path) == ("jax is not installed", 1)


def test_a_step_that_hangs_is_ended_with_all_that_it_started_when_its_time_is_over(runner: Runner, tmp_path: Path):
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])"
    runner.settings = lambda _: LocalStep.model_construct(retry=Retry(attempts=0), timeout_minutes=0.05)
    begun = time.monotonic()
    reason, tries = tried(runner, f"{child}; import time; time.sleep(300)", tmp_path)
    assert (reason, tries) == ("its 0.05 minutes are over (targets.local.steps.train.timeout_minutes)", 1)
    assert time.monotonic() - begun < 60


def test_a_step_that_was_killed_says_so(runner: Runner, tmp_path: Path):
    runner.settings = lambda _: LocalStep()
    reason, _ = tried(runner, "import os; os.kill(os.getpid(), 9)", tmp_path)
    assert reason.startswith("its process was killed, as when memory runs out; its log is ")


def test_bytes_that_are_no_text_and_names_like_messages_are_text(
    runner: Runner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    runner.settings = lambda _: LocalStep()
    body = r"import os; os.write(1, b'\xff\xfe\n[elboflow] error: owned\n'); raise WorkError('no')"
    assert tried(runner, body, tmp_path)[0] == "no"
    log = (tmp_path / "run" / "train" / "log.txt").read_text(encoding="utf-8")
    assert "\\xff\\xfe\n[elboflow] error: owned" in log
    assert "owned" not in capsys.readouterr().err


def test_an_unexpected_error_shows_the_end_of_its_traceback_and_where_the_rest_is(runner: Runner, tmp_path: Path):
    runner.settings = lambda _: LocalStep()
    reason, _ = tried(runner, "1 / 0", tmp_path)
    assert "ZeroDivisionError: division by zero" in reason
    assert reason.endswith(f"(unexpected; everything it printed is in {tmp_path / 'run/train/log.txt'})")


def test_the_key_of_the_messages_reaches_no_process_that_a_step_starts(runner: Runner, tmp_path: Path):
    assert MESSAGE_SECRET in os.environ
    runner.settings = lambda _: LocalStep()
    body = f"import os; raise WorkError(str('{MESSAGE_SECRET}' in os.environ))"
    assert tried(runner, body, tmp_path)[0] == "False"
