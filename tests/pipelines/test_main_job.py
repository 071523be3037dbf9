"""The main job, for real: four processes from raw digits to a version in MLflow, killed, interrupted and damaged."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elboflow.testing.faults import flip_a_bit
from elboflow.testing.platforms.wire import wait_for
from tests import disks

pytestmark = pytest.mark.xdist_group("main_job")

SMALL = {
    "training.epochs": "2",
    "training.batch_size": "128",
    "model.latent": "4",
    "evaluation.bound_samples": "20",
    "evaluation.bootstrap_samples": "100",
    "registry.canary": "false",
    "registry.baseline": "false",
}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pipelines", *map(str, arguments)]


def run_command(workspace: Path, settings: Mapping[str, str] = SMALL) -> list[str]:
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return command("run", "digits", "--workspace", workspace, "--json", *words)


@dataclass
class Started:
    """A run at work, whose standard error is read line by line.

    Attributes:
        process: The run.
        lines: The lines that were read.
        temporary: The folder for its temporary files.
    """

    process: subprocess.Popen[str]
    lines: list[str]
    temporary: Path

    def until(self, says: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if says in line:
                return
        raise AssertionError(f"it never said {says!r}:\n{''.join(self.lines)}")

    def end(self) -> tuple[int, str, str]:
        out, rest = self.process.communicate(timeout=300)
        return self.process.returncode, out, "".join(self.lines) + rest


Start = Callable[..., Started]
"""Starts a command, or the main job in a workspace."""


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    started: list[Started] = []

    def begin(workspace: Path, words: Sequence[str] = ()) -> Started:
        streams: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        temporary = tmp_path_factory.mktemp("temporary")
        environment = {**os.environ, "TMPDIR": str(temporary)}
        process = subprocess.Popen(words or run_command(workspace), start_new_session=True, env=environment, **streams)
        started.append(Started(process, [], temporary))
        return started[-1]

    yield begin
    for run in started:
        run.process.kill()
        run.process.communicate()


def processes_of(workspace: Path) -> list[int]:
    """The processes, other than this one, that were told of a workspace."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                words = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if str(workspace).encode() in words:
                found.append(int(folder.name))
    return found


def wait_until_none_is_left(workspace: Path) -> None:
    deadline = time.monotonic() + 10
    while processes_of(workspace):
        assert time.monotonic() < deadline, "a step is at work without its run"
        time.sleep(0.1)


STEPS = ("preprocess", "train", "evaluate", "register")


def wait_for_the_log_of(step: str, workspace: Path) -> Path:
    """Waits until a step is at work, and returns its log."""
    deadline = time.monotonic() + 120
    while not (logs := list(workspace.glob(f"runs/*/{step}/log.txt"))):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return logs[0]


def finished(workspace: Path) -> set[Path]:
    """The artifacts that look whole."""
    return {path for name in ("dataset", "model", "evaluation") for path in workspace.rglob(f"{name}.json")}


@dataclass(frozen=True)
class MainJob:
    workspace: Path
    result: dict[str, Any]
    out: str
    err: str


@pytest.fixture(scope="session")
def main_job(tmp_path_factory: pytest.TempPathFactory, start: Start) -> MainJob:
    """The main job, killed with -9 in its training and repeated from there."""
    workspace = tmp_path_factory.mktemp("main-job") / "workspace"
    settings = {**SMALL, "training.epochs": "60", "training.checkpoints.every_steps": "12"}
    killed = start(workspace, run_command(workspace, settings))
    killed.until("epoch ")
    wait_for(lambda: list(workspace.glob("checkpoints/*/step-*/checkpoint.json")) != [])
    killed.process.kill()
    killed.process.wait()
    wait_until_none_is_left(workspace)
    (run,) = (folder.name for folder in workspace.glob("runs/*"))
    code, out, err = start(workspace, command("runs", "retry", run, "--workspace", workspace, "--json")).end()
    assert code == 0, err
    return MainJob(workspace, json.loads(out.splitlines()[-1]), out, err)


def test_a_run_that_was_killed_in_its_training_is_repeated_from_the_checkpoint_on(main_job: MainJob):
    assert main_job.result["status"] == "succeeded"
    assert [path.name for path in (main_job.workspace / "runs").iterdir()] == [main_job.result["run"]]
    assert set(main_job.result["seconds"]) == {"train", "evaluate", "register", "total"}
    assert "going on after step " in main_job.err
    assert list((main_job.workspace / "checkpoints").iterdir()) == [], "of a training that has ended, none are kept"


@pytest.mark.slow
def test_the_same_command_succeeds_after_a_kill_in_the_middle_of_every_step(tmp_path: Path, start: Start):
    workspace = tmp_path / "workspace"
    for number, step in enumerate(STEPS):
        killed = start(workspace)
        wait_for_the_log_of(step, workspace)  # the tries before it did not come so far
        if step == "train":
            killed.until("training ")
        killed.process.kill()
        killed.process.wait()
        wait_until_none_is_left(workspace)
        assert len(list(workspace.glob("runs/*"))) == number + 1
    code, out, err = start(workspace).end()
    assert code == 0, err
    dataset = Path(json.loads(out)["dataset"])
    assert f"made already in {dataset.parent}/{dataset.name[:8]}…" in err
    assert len(list((workspace / "datasets").glob("*/dataset.json"))) == 1


def test_standard_output_carries_the_result_and_nothing_else(main_job: MainJob):
    assert len(main_job.out.splitlines()) == 1
    assert set(main_job.result) == {
        "run", "status", "dataset", "model", "evaluation", "report", "mlflow", "metrics", "seconds",
        "experiment", "target", "steps", "created", "ended", "link", "reason",
    }  # fmt: skip
    assert {"elbo", "reconstruction", "kl", "log_likelihood", "bits_per_dim", "active_units"} <= set(
        main_job.result["metrics"]
    )
    assert main_job.result["mlflow"]["version"] == 1
    assert main_job.result["mlflow"]["promoted"] is True


def test_the_bounds_of_the_result_are_in_their_order(main_job: MainJob):
    metrics = main_job.result["metrics"]
    assert metrics["elbo"] == pytest.approx(metrics["reconstruction"] - metrics["kl"], abs=1e-6)
    assert metrics["elbo"] < metrics["log_likelihood"] < 0
    assert metrics["kl"] > 0


def test_every_folder_of_the_result_is_a_finished_artifact(main_job: MainJob):
    for name in ("dataset", "model", "evaluation"):
        assert (Path(main_job.result[name]) / f"{name}.json").is_file()
    assert "<html" in Path(main_job.result["report"]).read_text(encoding="utf-8")
    assert Path(main_job.result["model"]).is_relative_to(main_job.workspace / "runs" / main_job.result["run"])


def test_the_screen_shows_steps_metrics_report_and_the_way_to_mlflow_and_no_chatter(main_job: MainJob):
    told, *after = main_job.err.splitlines()
    assert told.startswith("found killed, and recorded as ended now: digits-")
    lines = [line.split()[0] for line in after if line and not line.startswith(" ")]
    assert lines[:3] == ["train", "evaluate", "register"]
    assert f"report: {main_job.result['report']}" in main_job.err
    assert f"-m pipelines ui --workspace {main_job.workspace}" in main_job.err
    for noise in ("KFP", "\x1b[", "Streamed", "oneDNN", "absl", "INFO", "Warning"):
        assert noise not in main_job.err


def test_everything_that_a_step_printed_is_kept_in_its_log(main_job: MainJob):
    log = main_job.workspace / "runs" / main_job.result["run"] / "train" / "log.txt"
    assert "KFP Executor" in log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def mlflow(main_job: MainJob) -> Iterator[Callable[[str], Any]]:
    """The workspace's MLflow, served by `elboflow ui` and asked over HTTP."""
    port = 5799
    arguments = command("ui", "--workspace", main_job.workspace, "--port", str(port))
    streams: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, **streams) as server, ExitStack() as ending:
        ending.callback(server.terminate)  # which is waited for, also where it never became healthy
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address == f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, server.stderr.read() if server.stderr else ""
                assert time.monotonic() < deadline
                time.sleep(0.3)

        def ask(path: str) -> Any:
            with urllib.request.urlopen(f"{address}/api/2.0/mlflow/{path}", timeout=30) as answer:
                return json.load(answer)

        yield ask
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=30)
        assert server.returncode == 128 + signal.SIGTERM
        assert "Traceback" not in err
        with pytest.raises(urllib.error.URLError, match="refused"):
            urllib.request.urlopen(f"{address}/health", timeout=2)


def test_a_real_mlflow_server_has_the_run_the_version_and_the_alias(main_job: MainJob, mlflow: Callable[[str], Any]):
    registered = main_job.result["mlflow"]
    run = mlflow(f"runs/get?run_id={registered['run_id']}")["run"]
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["run_name"] == main_job.result["run"]
    metrics = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    assert main_job.result["metrics"]["elbo"] in metrics.values()
    version = mlflow("registered-models/alias?name=digits-vae&alias=champion")["model_version"]
    assert version["version"] == "1"
    assert version["run_id"] == registered["run_id"]


@pytest.mark.slow
def test_a_champion_makes_images_and_reconstructs_a_dataset(main_job: MainJob, tmp_path: Path):
    champion = "models:/digits-vae@champion"
    made, pairs = tmp_path / "made.npz", tmp_path / "pairs.png"
    generate = command("generate", champion, "--n", "5", "--output", made, "--workspace", main_job.workspace)
    assert subprocess.run(generate, capture_output=True, encoding="utf-8").stdout.strip() == str(made)
    with np.load(made) as images:
        assert images["code"].shape == (5, 8, 8, 1)
    reconstruct = command("reconstruct", main_job.result["run"], "--n", "3", "--output", pairs)
    reconstruct += ["--dataset", main_job.result["dataset"], "--workspace", str(main_job.workspace)]
    assert subprocess.run(reconstruct, capture_output=True, encoding="utf-8").returncode == 0
    assert pairs.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_shard_damaged_between_two_steps_fails_the_run_and_is_named(tmp_path: Path, start: Start):
    run = start(tmp_path / "workspace")
    run.until("wrote 1,797 examples")
    shard = next((tmp_path / "workspace" / "datasets").glob("*/train-*.tfrecord"))
    flip_a_bit(shard)
    code, out, err = run.end()
    assert code == 1
    failure = json.loads(out)
    assert (failure["status"], failure["step"]) == ("failed", "train")
    assert failure["run"].startswith("digits-")
    assert shard.name in failure["reason"]
    assert err.splitlines()[-1].startswith("error: train failed: ")
    assert "Traceback" not in err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "disk", "4m") as folder:
        yield folder


@pytest.mark.slow
def test_a_full_disk_fails_the_step_that_met_it_and_leaves_nothing_that_looks_whole(small_disk: Path, start: Start):
    (small_disk / "filler").write_bytes(bytes(3_600_000))
    run = start(small_disk / "workspace")
    code, out, err = run.end()
    assert code == 1
    assert json.loads(out)["step"] in ("preprocess", "train")  # beside the first, MLflow's database is made
    assert "space" in json.loads(out)["reason"]
    assert "Traceback" not in err
    assert list(small_disk.rglob("model.json")) == []


@pytest.mark.parametrize(
    ("step", "ending", "code", "told"),
    [
        ("preprocess", signal.SIGINT, 130, "interrupted"),
        pytest.param("train", signal.SIGTERM, 143, "ended by SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_the_run_alone_ends_its_step_and_leaves_nothing_that_looks_whole(
    step: str, ending: signal.Signals, code: int, told: str, tmp_path: Path, start: Start
):
    workspace = tmp_path / "workspace"
    run = start(workspace)
    log = wait_for_the_log_of(step, workspace)
    if step == "train":
        run.until("training ")
    run.process.send_signal(ending)
    ended, out, err = run.end()
    assert processes_of(workspace) == []
    assert (ended, out) == (code, "")
    assert err.splitlines()[-1].startswith(f"{told}; the same command again goes on from the last checkpoint")
    assert "Traceback" not in err
    assert {path for path in finished(workspace) if path.is_relative_to(log.parent)} == set()
    assert len(finished(workspace)) == STEPS.index(step)
    assert list(run.temporary.iterdir()) == []


@pytest.mark.slow
def test_an_interrupt_from_the_terminal_in_any_step_ends_it_and_leaves_nothing_that_looks_whole(
    tmp_path: Path, start: Start
):
    workspace = tmp_path / "workspace"
    # The dataset, then what each run finished anew; a checkout without changes takes the training of the run before.
    for step, whole in zip(STEPS, ({0}, {1}, {2}, {3, 4}), strict=True):
        run = start(workspace)
        wait_for_the_log_of(step, workspace)  # the runs before it did not come so far
        os.killpg(run.process.pid, signal.SIGINT)
        code, out, err = run.end()
        wait_until_none_is_left(workspace)
        assert (code, out) == (130, "")
        assert err.splitlines()[-1].startswith("interrupted; the same command again goes on")
        assert "Traceback" not in err
        assert list(run.temporary.iterdir()) == []
        assert len(finished(workspace)) in whole


@pytest.mark.slow
def test_two_runs_at_once_in_one_new_workspace_both_succeed(tmp_path: Path, start: Start):
    runs = [start(tmp_path / "workspace"), start(tmp_path / "workspace")]
    ended = [run.end() for run in runs]
    assert [code for code, _, _ in ended] == [0, 0], [err for _, _, err in ended]
    results = [json.loads(out) for _, out, _ in ended]
    assert len({result["run"] for result in results}) == 2
    assert len({result["dataset"] for result in results}) == 1
    assert {result["mlflow"]["version"] for result in results} == {1, 2}


@pytest.mark.slow
def test_a_step_that_is_killed_is_named_with_its_log(tmp_path: Path, start: Start):
    run = start(tmp_path / "workspace")
    log = wait_for_the_log_of("preprocess", tmp_path / "workspace")
    os.kill(max(set(processes_of(tmp_path / "workspace")) - {run.process.pid}), signal.SIGKILL)
    code, out, _ = run.end()
    assert code == 1
    assert json.loads(out)["step"] == "preprocess"
    assert "killed, as when memory runs out" in json.loads(out)["reason"]
    assert str(log) in json.loads(out)["reason"]
