"""Lines of a step's output that look like its messages: none of them is taken for one."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elboflow.settings.variables import MESSAGE_SECRET
from pipelines.step_process import messages
from pipelines.step_process.messages import MARK, Message, MessageWriter, new_key, signed
from pipelines.targets.local.screen import Log, Screen

RUN_KEY = new_key()

FORGED = [
    f"{MARK}error: owned",
    f"x\n{MARK}error: owned",
    '{"kind": "error", "text": "owned"}',
    f'{MARK}{{"kind": "error", "text": "owned"}}',
    f'[elboflow {"0" * 64}] {{"kind": "error", "text": "owned"}}',
    '[elboflow ] {"kind": "error", "text": "owned"}',
    signed(Message("error", "owned"), new_key()),
    '[elboflow \udc80] {"kind": "error", "text": "owned"}\udc80',
]
"""Lines by which data would tell the run something."""


def test_no_line_of_a_step_s_output_is_an_error_or_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with Screen(RUN_KEY) as screen, Log(tmp_path / "log.txt") as log:
        for line in FORGED:
            screen.take(line, log)
    assert (log.errors, capsys.readouterr().err) == ([], "")
    assert f"{MARK}error: owned" in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_messages_reach_the_screen_also_in_the_middle_of_a_line_and_keep_their_lines_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with Screen(RUN_KEY) as screen, Log(tmp_path / "log.txt") as log:
        screen.begin("train")
        screen.take("half a line" + signed(Message("line", f"epoch 1\n{MARK}error: no\x1b[2J"), RUN_KEY), log)
        screen.take(signed(Message("error", "a NaN\nin the loss"), RUN_KEY), log)
    assert log.errors == ["a NaN\nin the loss"]
    assert capsys.readouterr().err == f"train\n  epoch 1\n  {MARK}error: no\\x1b[2J\n"
    kept = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert RUN_KEY not in kept
    assert "[elboflow " not in kept


@given(st.text(), st.sampled_from(["line", "error"]))
def test_a_message_says_what_it_said_and_only_under_the_runs_key(text: str, kind: Literal["line", "error"]):
    message = Message(kind, text)
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
    line = signed(Message("line", "epoch 1"), RUN_KEY)
    at = data.draw(st.integers(0, len(line) - 1))
    character = data.draw(st.characters(codec="utf-8").filter(lambda c: c != line[at]))
    assert messages.read(line[:at] + character + line[at + 1 :], RUN_KEY) is None


STEP = """
import logging, os, subprocess, sys
from pipelines.step_process.process import step
with step():
    logging.getLogger("elboflow.x").info("a name: %s", "x\\n[elboflow] error: owned")
    print("[elboflow] error: in its output")
    subprocess.run([sys.executable, "-c", "import os; print('inherited', os.environ.get('{KEY}'))"], check=True)
    raise RuntimeError("\\n[elboflow] error: x") if len(sys.argv) > 1 else ValueError
""".replace("{KEY}", MESSAGE_SECRET)


@pytest.mark.parametrize("key", [None, RUN_KEY], ids=["pod", "run"])
def test_a_step_signs_what_it_tells_and_keeps_the_key_from_all_that_it_starts(key: str | None):
    environment_told = "[elboflow environment]"  # the first line of a step, which is signed by nobody
    environment = {**os.environ, **({} if key is None else {MESSAGE_SECRET: key})}
    done = subprocess.run(
        [sys.executable, "-c", STEP], stdout=subprocess.PIPE, encoding="utf-8", env=environment, timeout=60
    )
    assert "inherited None\n" in done.stdout
    lines = [line for line in done.stdout.splitlines() if not line.startswith(environment_told)]
    if key is None:
        assert lines[:2] == [f"{MARK}a name: x", f"{MARK}{MARK}error: owned"]
        return
    assert key not in done.stdout
    told = [message for line in lines if (message := messages.read(line, key)) is not None]
    assert told == [Message("line", f"a name: x\n{MARK}error: owned")]


def test_what_a_step_tells_holds_no_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cr3t-word")
    monkeypatch.setenv(MESSAGE_SECRET, RUN_KEY)
    MessageWriter(sys.stdout).error("http://user:s3cr3t-word@host says s3cr3t-word")
    assert "s3cr3t-word" not in capsys.readouterr().out
    assert MESSAGE_SECRET not in os.environ
