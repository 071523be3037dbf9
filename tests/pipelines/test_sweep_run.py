"""A sweep for real: interrupted, killed, and continued to a registered version, with a trial that fails."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.xdist_group("sweep"), pytest.mark.slow]

SMALL = (
    "training.epochs=2",
    "model.latent=4",
    "evaluation.bound_samples=20",
    "evaluation.bootstrap_samples=100",
    "registry.canary=false",
    "registry.baseline=false",
)
TOO_LARGE = 5000
"""A batch that the train split cannot fill: a mistake that shows in the training only."""


class Started:
    """A sweep at work, whose standard error is read line by line."""

    def __init__(self, workspace: Path, *over: str) -> None:
        words = [word for setting in SMALL for word in ("--set", setting)]
        words += [word for text in over for word in ("--over", text)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", "sweep", "digits", "--workspace", str(workspace), "--json", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )
        self.lines: list[str] = []

    def until(self, says: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if says in line:
                return
        raise AssertionError(f"it never said {says!r}:\n{''.join(self.lines)}")

    def end(self) -> tuple[int, str, str]:
        out, rest = self.process.communicate(timeout=600)
        return self.process.returncode, out, "".join(self.lines) + rest

    def left_behind(self) -> list[int]:
        """The processes of its steps that are still there, after a moment."""
        deadline = time.monotonic() + 20
        while found := [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if self._started(folder)]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        return found

    def _started(self, folder: Path) -> bool:
        try:
            return os.getsid(int(folder.name)) == self.process.pid
        except ProcessLookupError:
            return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    started: list[Started] = []

    def begin(*over: str) -> Started:
        started.append(Started(tmp_path, *over))
        return started[-1]

    yield begin
    for run in started:
        run.process.kill()
        run.process.communicate()


def test_a_sweep_is_interrupted_and_killed_and_goes_on_to_the_best_of_what_did_not_fail(
    start: Callable[..., Started], tmp_path: Path
):
    over = f"training.batch_size={TOO_LARGE},32"
    interrupted = start(over)
    interrupted.until("search")
    os.kill(interrupted.process.pid, signal.SIGINT)  # and not its group: what it started, it ends
    code, out, said = interrupted.end()
    assert (code, out) == (130, ""), said
    assert interrupted.left_behind() == []

    killed = start(over)
    killed.until("[1/2]")
    (first,) = tmp_path.glob("sweeps/*/trials/*/trial.json")
    killed.process.kill()
    killed.end()
    assert killed.left_behind() == []
    (state,) = tmp_path.glob("sweeps/*/sweep.json")
    name = json.loads(state.read_text(encoding="utf-8"))["run"]

    code, out, said = start(over).end()
    assert code == 0, said
    done = json.loads(out)
    assert done["run"] == name, "it is the same run, since it was interrupted first"
    assert done["best"] == {"training.batch_size": 32}
    assert done["status"] == "succeeded"
    statuses = {tried["values"]["training.batch_size"]: tried["status"] for tried in done["trials"]}
    assert statuses == {32: "finished", TOO_LARGE: "failed"}
    assert json.loads(first.read_text(encoding="utf-8"))["values"] == {"training.batch_size": TOO_LARGE}
    assert "a batch can be no larger" in said
    assert Path(done["comparison"]).read_text(encoding="utf-8").count("<polyline") == 2
    assert Path(done["report"]).exists()
    assert "[1/2]" in said
    check_mlflow(done, tmp_path)


def check_mlflow(done: dict[str, Any], workspace: Path) -> None:
    from mlflow import MlflowClient

    database = f"sqlite:///{workspace}/mlflow.db"
    client = MlflowClient(database, registry_uri=database)  # an earlier test may have set another one in this process
    parent = client.get_run(done["mlflow"]["run_id"])
    assert parent.info.run_name == done["run"]
    assert parent.info.status == "FINISHED"
    assert parent.data.params["training.batch_size"] == "32"
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    states = {child.data.params["training.batch_size"]: child.info.status for child in children}
    assert states == {"32": "FINISHED", str(TOO_LARGE): "FAILED"}
    (best,) = (child for child in children if child.info.status == "FINISHED")
    assert parent.data.tags["elboflow.best_run"] == best.info.run_id
    assert [point.step for point in client.get_metric_history(best.info.run_id, "validation/elbo")] == [1, 2]
    version = client.get_model_version("digits-vae", done["mlflow"]["version"])
    assert version.run_id == parent.info.run_id


def test_a_sweep_none_of_whose_trials_finished_fails_and_says_why(start: Callable[..., Started], tmp_path: Path):
    code, out, said = start(f"training.batch_size={TOO_LARGE},{TOO_LARGE + 1}").end()
    assert code == 1, said
    failed = json.loads(out)
    assert (failed["status"], failed["step"]) == ("failed", "search")
    assert [tried["status"] for tried in failed["trials"]] == ["failed", "failed"]
    assert "none of 2 trials finished" in said
    assert "a batch can be no larger" in failed["reason"]


def test_the_same_sweep_is_not_at_work_twice(start: Callable[..., Started]):
    first = start("seed=0,1")
    first.until("preprocess")
    code, out, said = start("seed=0,1").end()
    assert (code, out) == (2, "")
    assert "this sweep is at work already" in said
