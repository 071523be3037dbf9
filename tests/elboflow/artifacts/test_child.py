"""Child processes: what they import, how they end, alone and with their parent, and what is said of it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from elboflow.artifacts import child

READY = "import signal, sys, time; {} print(flush=True); {}"
SLEEPS, READS = "time.sleep(600)", "sys.stdin.read()"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN);"


def started(*program: str) -> "subprocess.Popen[str]":
    """Starts a program as the leader of a process group, and waits until it prints a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", READY.format(*program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        process_group=0,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_folder_where_the_parent_is_shadows_no_package(tmp_path: Path):
    (tmp_path / "this.py").write_text("print('of the user')", encoding="utf-8")
    done = subprocess.run(child.command("this"), cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.stdout.startswith("The Zen of Python")


@pytest.mark.parametrize(("program", "code"), [((DEAF, READS), 0), (("", SLEEPS), -15), ((DEAF, SLEEPS), -9)])
def test_a_block_that_fails_ends_its_process_as_gently_as_the_process_lets_it(program: tuple[str, str], code: int):
    process = started(*program)
    with pytest.raises(KeyboardInterrupt), child.ended(process, 0.5):
        raise KeyboardInterrupt
    assert process.returncode == code


def test_a_process_ends_by_itself_when_the_block_has_done_its_work(caplog: pytest.LogCaptureFixture):
    process = started("", f"{READS}; time.sleep(0.2)")
    with child.ended(process, 10.0):
        pass
    assert (process.returncode, caplog.messages) == (0, [])


def test_a_process_that_does_not_end_by_itself_is_ended_and_said_to_be(caplog: pytest.LogCaptureFixture):
    process = started("", SLEEPS)
    with child.ended(process, 0.1):
        pass
    assert process.returncode == -signal.SIGTERM
    assert caplog.messages == [f"process {process.pid} does not end; it is ended"]


def test_a_group_ends_with_its_leader_although_a_member_ignores_sigterm():
    leader = started("import os;", f"os.fork() or ({DEAF[:-1]}, print(flush=True)); {SLEEPS}")
    assert leader.stdout is not None
    leader.stdout.readline()
    child.end_group(leader, 0.1)
    leader.stdin = None  # it is closed
    assert leader.communicate(timeout=30)[0] == "", "its pipe is closed by the end of the last member"
    assert leader.returncode == -signal.SIGTERM
    child.end_group(leader, 0.1)  # again is no error


WAITS = """
process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
signal.signal(signal.SIGTERM, lambda *_: process.kill())
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # the thread gets it, so that no call here is interrupted
print("waits", flush=True)
print(child.waited(process))
"""


def test_a_signal_that_did_not_interrupt_the_wait_for_a_process_is_handled_before_that_ends():
    waiting = subprocess.Popen([sys.executable, "-c", f"{IMPORTS}\n{WAITS}"], stdout=subprocess.PIPE, encoding="utf-8")
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "waits\n"
    time.sleep(0.2)  # it is in the call
    waiting.send_signal(signal.SIGTERM)
    assert waiting.communicate(timeout=30)[0] == f"{-signal.SIGKILL}\n"


IMPORTS = "import os, pathlib, signal, subprocess, sys, threading, time; from elboflow.artifacts import child"
PARENT = f"{IMPORTS}; process = subprocess.Popen({{}}, env=child.environment());"
CHILD = f"{IMPORTS}; child.end_with_parent({{}}); print(flush=True); {SLEEPS}"
SAVES = f"import signal; signal.signal(signal.SIGTERM, lambda *_: print('saved', flush=True)); {CHILD.format(0.2)}"


@pytest.mark.parametrize(("program", "said"), [(CHILD.format(""), ""), (SAVES, "saved\n")])
def test_a_child_ends_with_its_killed_parent(program: str, said: str):
    parent = started(PARENT.format([sys.executable, "-c", program]), SLEEPS)
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.kill()
    assert parent.communicate(timeout=30)[0] == said, "and its pipe is closed"


def test_a_child_whose_parent_was_killed_before_it_looked_ends(tmp_path: Path):
    waits = f"{IMPORTS}\nwhile not pathlib.Path({str(tmp_path / 'killed')!r}).exists(): time.sleep(0.01)\n"
    parent = started(PARENT.format([sys.executable, "-c", waits + CHILD.format("")]), SLEEPS)
    parent.kill()
    parent.wait()
    (tmp_path / "killed").touch()
    assert parent.communicate(timeout=30)[0] in ("", "\n")


def test_only_a_child_that_was_started_to_end_with_its_parent_watches_it():
    program = f"{IMPORTS}; child.end_with_parent(); print(threading.active_count(), 'ELBOFLOW_PARENT' in os.environ)"
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, encoding="utf-8") == "1 False\n"
    assert subprocess.check_output(command, encoding="utf-8", env=child.environment()) == "2 False\n"


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (-9, "its process was killed, as when memory runs out"),
        (137, "its process was killed, as when memory runs out"),
        (-11, "its process ended by SIGSEGV without a result"),
        (143, "its process ended by SIGTERM without a result"),
        (3, "its process ended with exit code 3 without a result"),
        (255, "its process ended with exit code 255 without a result"),
    ],
)
def test_an_exit_code_has_a_meaning_for_a_person(code: int, meaning: str):
    assert child.death(code) == child.reason(" \n", code) == meaning
    by_signal = code in (-9, 137, -11)  # 143 is also how a process ends itself after a SIGTERM
    last_line = child.reason("Traceback:\n  1 / 0\nZeroDivisionError\n", code)
    assert last_line == (meaning if by_signal else "ZeroDivisionError")
