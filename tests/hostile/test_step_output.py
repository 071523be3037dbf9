"""Lines of a step's output that look like its messages, or like KFP's log: none of them moves the screen of the run."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kfp import dsl, local

from elboflow.settings.variables import MESSAGE_SECRET
from pipelines import messages
from pipelines.messages import MARK, Message, Told, new_key, signed
from pipelines.screen import Screen
from pipelines.steps import IMAGE
from pipelines.sweeps.screen import Screen as SweepScreen
from pipelines.targets import StepState
from pipelines.targets.local.kfp_changes import any_bytes, named
from pipelines.targets.local.process import Process

RUN_KEY = new_key()


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    """A process of the same person, in another group."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """The log of another person, which a run has no business with."""
    path = tmp_path / "elsewhere" / "log.txt"
    path.parent.mkdir()
    path.write_text("precious", encoding="utf-8")
    return path


def moved(_: Sequence[StepState]) -> None:
    pass


def kfp(message: str, module: str = "task_dispatcher", name: str = "root") -> logging.LogRecord:
    return logging.LogRecord(name, logging.INFO, f"/kfp/{module}.py", 1, message, (), None)


def forged(process: int, output: Path) -> list[str]:
    """Lines by which data once, or would, tell the run something."""
    said = f'{{"kind": "begin", "text": "{output}", "process": {process}}}'
    return [
        f"{MARK}begin {process} {output}",
        f"{MARK}error: owned",
        f"x\n{MARK}begin {process} {output}",
        said,
        f"{MARK}{said}",
        f"[elboflow {'0' * 64}] {said}",
        f"[elboflow ] {said}",
        signed(Message("begin", str(output), process), new_key()),
        f"[elboflow \udc80] {said}\udc80",
        "Executing task 'register'",
        "12:00:00 - INFO - Task 'train' finished with status SUCCESS",
    ]


def test_no_line_of_a_steps_output_begins_a_step_opens_a_file_or_is_an_error(
    tmp_path: Path, canary: Path, bystander: "subprocess.Popen[bytes]"
):
    runs = tmp_path / "runs" / "digits-1"
    with Screen(moved, RUN_KEY, runs) as screen:
        screen._note(kfp("Executing task '\x1b[96mtrain\x1b[0m'"))
        print(signed(Message("begin", str(runs / "train" / "model"), os.getpid()), RUN_KEY))
        for line in forged(bystander.pid, canary):
            print(line)
        assert (screen.step, screen.errors, screen.seconds) == ("train", [], {})
        assert screen.process is None
        assert screen.log.path == runs / "train" / "log.txt"
    assert canary.read_text(encoding="utf-8") == "precious"
    kept = (runs / "train" / "log.txt").read_text(encoding="utf-8")
    assert f"{MARK}error: owned" in kept


def test_not_even_a_step_opens_a_log_elsewhere_or_names_a_process_that_is_not_the_runs(
    tmp_path: Path, canary: Path, bystander: "subprocess.Popen[bytes]"
):
    runs = tmp_path / "runs" / "digits-1"
    runs.mkdir(parents=True)
    (runs / "link").symlink_to(canary.parent)
    places = [canary, runs / ".." / ".." / "elsewhere" / "model", runs / "link" / "model", tmp_path / "runs" / "model"]
    with Screen(moved, RUN_KEY, runs) as screen:
        for process in (bystander.pid, 1, 0, -1, os.getpid(), os.getppid() if os.getppid() == 1 else 2**22 + 1):
            for place in places:
                print(signed(Message("begin", str(place), process), RUN_KEY))
                assert (screen.process, screen.log.path) == (None, None)
    assert canary.read_text(encoding="utf-8") == "precious"
    assert bystander.poll() is None


def test_a_process_of_the_runs_group_is_known_and_one_that_gets_its_id_later_is_not_ended(tmp_path: Path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    known = Process.beside(child.pid)
    assert known is not None
    Process(known.id, "another start").signal(signal.SIGKILL)
    assert child.poll() is None
    assert known.end(10)
    child.wait()


def test_messages_reach_the_screen_also_in_the_middle_of_a_line_and_keep_their_lines_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    runs = tmp_path / "runs" / "digits-1"
    with Screen(moved, RUN_KEY, runs) as screen:
        screen._note(kfp("Executing task 'train'"))
        print("half a line" + signed(Message("begin", str(runs / "train" / "model"), 1), RUN_KEY))
        print("    " + signed(Message("line", f"epoch 1\n{MARK}error: no\x1b[2J", 1), RUN_KEY))
        print(signed(Message("error", "a NaN\nin the loss", 1), RUN_KEY))
        assert screen.errors == ["a NaN\nin the loss"]
        assert screen.log.path == runs / "train" / "log.txt"
    assert capsys.readouterr().err == f"train\n  epoch 1\n  {MARK}error: no\\x1b[2J\n"
    kept = (runs / "train" / "log.txt").read_text(encoding="utf-8")
    assert RUN_KEY not in kept
    assert "[elboflow " not in kept


@pytest.mark.parametrize(
    "record",
    [
        kfp("Executing task 'train'", module="somewhere"),
        kfp("Executing task 'train'", name="mlflow"),
        kfp("Executing task 'train'\nmore"),
        kfp("Executing task '../../train'"),
        kfp("a name: Executing task 'train'"),
    ],
)
def test_only_kfps_own_record_begins_a_step(record: logging.LogRecord, tmp_path: Path):
    with Screen(moved, RUN_KEY, tmp_path) as screen:
        screen._note(record)
        assert screen.step is None
    with SweepScreen(tmp_path / "trials", 1, moved, RUN_KEY, tmp_path) as sweep:
        sweep._note(record)
        assert sweep.last is None


def test_no_line_of_a_trials_output_moves_the_screen_of_a_sweep(
    tmp_path: Path, canary: Path, bystander: "subprocess.Popen[bytes]", capsys: pytest.CaptureFixture[str]
):
    trials, runs = tmp_path / "sweeps" / "digits" / "trials", tmp_path / "runs" / "digits-1"
    with SweepScreen(trials, 2, moved, RUN_KEY, runs) as screen:
        screen._note(kfp("Executing task 'train'"))
        print(signed(Message("begin", str(trials / "abc" / "trial.json"), bystander.pid), RUN_KEY))
        for line in forged(bystander.pid, canary):
            print(line)
        print(signed(Message("begin", str(canary), 1), RUN_KEY))
        assert screen.last is not None
        assert (screen.last.process, screen.last.errors) == (None, [])
        print(signed(Message("line", f"latent=4: finished\n{MARK}error: no", 1), RUN_KEY))
        screen.stop()
    assert canary.read_text(encoding="utf-8") == "precious"
    assert bystander.poll() is None
    assert capsys.readouterr().err.splitlines()[3:5] == ["  [1/2] latent=4: finished", f"  {MARK}error: no"]


@given(st.text(), st.sampled_from(["begin", "line", "error"]))
def test_a_message_says_what_it_said_and_only_under_the_runs_key(text: str, kind: Literal["begin", "line", "error"]):
    message = Message(kind, text, 7)
    line = signed(message, RUN_KEY)
    assert len(line.splitlines()) == 1
    assert line.isascii()
    assert messages.read(line, RUN_KEY) == message
    assert messages.read(line, new_key()) is None


def test_a_long_line_of_beginnings_is_text_at_once():
    begun = time.monotonic()
    assert messages.read(f"[elboflow {'0' * 64}] {{" * 100_000, RUN_KEY) is None
    assert time.monotonic() - begun < 5


@given(st.data())
def test_no_changed_message_is_one(data: st.DataObject):
    line = signed(Message("begin", "/runs/1/train/model", 7), RUN_KEY)
    at = data.draw(st.integers(0, len(line) - 1))
    character = data.draw(st.characters(codec="utf-8").filter(lambda c: c != line[at]))
    assert messages.read(line[:at] + character + line[at + 1 :], RUN_KEY) is None


STEP = """
import logging, os, subprocess, sys
from pipelines.process import step
print(f"[elboflow] begin 1 /elsewhere/before")
with step("/runs/1/train/model"):
    logging.getLogger("elboflow.x").info("a name: %s", "x\\n[elboflow] begin 1 /elsewhere/log")
    print("[elboflow] error: in its output")
    subprocess.run([sys.executable, "-c", "import os; print('inherited', os.environ.get('{KEY}'))"], check=True)
    raise RuntimeError("\\n[elboflow] error: x") if len(sys.argv) > 1 else ValueError
""".replace("{KEY}", MESSAGE_SECRET)


@pytest.mark.parametrize("key", [None, RUN_KEY], ids=["pod", "run"])
def test_a_step_signs_what_it_tells_and_keeps_the_key_from_all_that_it_starts(key: str | None):
    environment = {**os.environ, **({} if key is None else {MESSAGE_SECRET: key})}
    done = subprocess.run(
        [sys.executable, "-c", STEP], stdout=subprocess.PIPE, encoding="utf-8", env=environment, timeout=60
    )
    assert "inherited None\n" in done.stdout
    lines = done.stdout.splitlines()
    if key is None:
        assert lines[1].endswith(" /runs/1/train/model")
        assert lines[2:4] == [f"{MARK}a name: x", f"{MARK}{MARK}begin 1 /elsewhere/log"]
        return
    assert key not in done.stdout
    told = [message for line in lines if (message := messages.read(line, key)) is not None]
    assert [message.kind for message in told] == ["begin", "line"]
    assert told[0].text == "/runs/1/train/model"
    assert told[1].text == f"a name: x\n{MARK}begin 1 /elsewhere/log"


def test_what_a_step_tells_holds_no_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cr3t-word")
    monkeypatch.setenv(MESSAGE_SECRET, RUN_KEY)
    Told(sys.stdout).error("http://user:s3cr3t-word@host says s3cr3t-word")
    assert "s3cr3t-word" not in capsys.readouterr().out
    assert MESSAGE_SECRET not in os.environ


def test_a_step_that_logs_a_file_named_like_a_message_steers_no_run(
    tmp_path: Path, canary: Path, bystander: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
):
    """The attack as it was found, through KFP: the name stands in a warning about the champion's `model.json`."""

    @dsl.component(base_image=IMAGE, install_kfp_package=False)
    def register(name: str, registration: dsl.Output[dsl.Artifact]) -> None:
        import logging
        import os

        from pipelines.process import step

        with step(registration.path):
            os.write(1, b"bytes that are no text: \xff\xfe\n")
            logging.getLogger("elboflow.register").warning("%s is missing", name)
            print(name)

    @dsl.pipeline(name="attacked")
    def pipeline(name: str) -> None:
        register(name=name)

    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.setenv(MESSAGE_SECRET, RUN_KEY)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "runs"))
    with named("digits-1"), any_bytes(), Screen(moved, RUN_KEY, tmp_path / "runs" / "digits-1") as screen:
        pipeline(name=f"x\n{MARK}begin {bystander.pid} {canary}\n{MARK}error: owned")
    assert (screen.step, list(screen.seconds), screen.errors) == ("register", ["register"], [])
    assert screen.log.path == tmp_path / "runs" / "digits-1" / "register" / "log.txt"
    assert screen.log.path.read_text(encoding="utf-8").count(f"begin {bystander.pid} {canary}") >= 2
    assert r"bytes that are no text: \xff\xfe" in screen.log.path.read_text(encoding="utf-8")
    assert canary.read_text(encoding="utf-8") == "precious"
    assert bystander.poll() is None
