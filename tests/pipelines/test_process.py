"""A step in a process of its own: its exit code, its words, and what it leaves for the next try."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.surroundings import environment
from elboflow.testing.platforms.storage import StorageServer

# A step whose body is given; it notes each time that it is at work.
STEP = """
import signal, sys, time
from pathlib import Path
from pipelines.step_process.process import step
from elboflow.settings import RequestError, WorkError
folder = Path(sys.argv[1])
with step(str(folder / "model")):
    with (folder / "tries").open("a") as tries:
        tries.write("x")
    BODY
"""


def start(body: str, folder: Path, variables: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", STEP.replace("BODY", body), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env={**os.environ, **(variables or {})},
    )


def run(body: str, folder: Path, variables: dict[str, str] | None = None) -> tuple[int, str]:
    process = start(body, folder, variables)
    said, _ = process.communicate(timeout=60)
    return process.returncode, own(said)


def own(said: str) -> str:
    """Returns what a step said besides its environment, which comes first."""
    first, rest = said.split("\n", 1)
    assert first.startswith(environment.MARK)
    return rest


def tries(folder: Path) -> int:
    return len((folder / "tries").read_text(encoding="utf-8"))


def test_a_step_that_does_its_work_leaves_its_output_alone(tmp_path: Path):
    code, said = run("print('done')", tmp_path)
    assert (code, said.splitlines()) == (0, ["done"])
    assert [path.name for path in tmp_path.iterdir()] == ["tries"]


def test_a_wrong_request_is_not_tried_again(tmp_path: Path):
    body = "raise RequestError('training.backend: jax is not installed\\nno, really')"
    code, said = run(body, tmp_path)
    line = "[elboflow] error: training.backend: jax is not installed\n[elboflow] no, really\n"
    assert (code, said) == (2, line)
    code, said = run(body, tmp_path)
    assert (code, said) == (2, line)
    assert tries(tmp_path) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise WorkError('the loss is not a number')", "[elboflow] error: the loss is not a number\n"),
        (
            "raise OSError(28, 'No space left on device', 'model')",
            "[elboflow] error: no space is left on the disk: model\n",
        ),
        ("1 / 0", "ZeroDivisionError: division by zero\n"),
    ],
)
def test_work_that_failed_is_tried_again(tmp_path: Path, body: str, words: str):
    for _ in range(2):
        code, said = run(body, tmp_path)
        assert code == 1
        assert said.endswith(words)
        assert ("Traceback" in said) == ("ZeroDivision" in words)
    assert tries(tmp_path) == 2


def test_the_machine_is_taken_away_in_order_and_the_next_try_begins(tmp_path: Path):
    body = """
    try:
        print("at work", flush=True)
        time.sleep(60)
    finally:
        signal.raise_signal(signal.SIGTERM)
        (folder / "tidied").touch()
    """
    process = start(body.strip(), tmp_path)
    assert process.stdout is not None
    while process.stdout.readline() != "at work\n":
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=10)
    assert process.returncode == 143
    assert said == "[elboflow] error: ended by SIGTERM, as when the machine is taken away\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tidied", "tries"]
    assert run("pass", tmp_path)[0] == 0
    assert tries(tmp_path) == 2


def test_an_output_folder_that_cannot_be_written_is_no_second_error(tmp_path: Path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    program = STEP.replace("BODY", "raise RequestError('no')").replace('folder / "model"', 'folder / "file/x/model"')
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 2
    assert done.stdout.endswith("[elboflow] error: no\n")


# A step of which each try is in a pod of its own: nothing below /gcs/ is there for the next.
POD = STEP.replace('str(folder / "model")', "'/gcs/bucket/runs/1/model'")


def in_pod(body: str, folder: Path, storage: str, pod: str = "train-1") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", POD.replace("BODY", body), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, "KFP_POD_NAME": pod, "STORAGE_EMULATOR_HOST": storage},
    )
    return done.returncode, own(done.stdout)


def test_the_pod_of_the_next_try_finds_in_the_bucket_that_the_request_was_wrong(tmp_path: Path):
    body = "raise RequestError('training.backend: jax is not installed')"
    with StorageServer(tmp_path / "buckets", "bucket") as storage:
        said = (2, "[elboflow] error: training.backend: jax is not installed\n")
        assert in_pod(body, tmp_path, storage.url) == said
        assert in_pod(body, tmp_path, storage.url, "train-2") == said
        assert tries(tmp_path) == 1
        # Kubeflow retries a run with pods of the same names: what was wrong may have been mended.
        assert in_pod("print('done')", tmp_path, storage.url) == (0, "done\n")
    assert not Path("/gcs/bucket").exists()


def test_a_pod_that_cannot_ask_the_bucket_does_its_work(tmp_path: Path):
    with StorageServer(tmp_path / "buckets", "other") as storage:
        code, said = in_pod("print('done')", tmp_path, storage.url)
        assert (code, said) == (0, "done\n")  # a bucket that is not there holds no reason
        storage.faults.refuse("GET", ".*", 403, times=None)
        code, said = in_pod("print('done')", tmp_path, storage.url)
        assert (code, said.splitlines()[-1]) == (0, "done")
        assert "[elboflow] could not look for gs://bucket/runs/1/refused.txt: " in said
        code, said = in_pod("raise RequestError('no')", tmp_path, storage.url)
        assert (code, said.splitlines()[-1]) == (2, "[elboflow] error: no")
        assert "[elboflow] could not write gs://bucket/runs/1/refused.txt: " in said
