"""`run --docker`: what each step's container is asked to be, and that it does the step's work."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elboflow.testing.platforms.docker_engine import DockerEngine

pytestmark = pytest.mark.xdist_group("main_job")

IMAGE = "elboflow:cpu"
SMALL = [
    "training.epochs=1",
    "evaluation.bound_samples=5",
    "evaluation.bootstrap_samples=100",
    "registry.canary=false",
    "registry.baseline=false",
    "targets.local.threads=1",
]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DockerEngine]:
    with DockerEngine(tmp_path, IMAGE) as engine:
        yield engine


def begin(engine: DockerEngine, workspace: Path, *settings: str) -> "subprocess.Popen[str]":
    assigned = [word for setting in (f"targets.local.image={IMAGE}", *settings) for word in ("--set", setting)]
    command = [sys.executable, "-m", "pipelines", "run", "digits", "--docker", "--json", *assigned]
    return subprocess.Popen(
        [*command, "--workspace", str(workspace)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "DOCKER_HOST": engine.host},
    )


@pytest.mark.slow
def test_every_step_does_its_work_in_a_container_of_the_image(engine: DockerEngine, tmp_path: Path):
    workspace = tmp_path / "workspace"
    out, err = begin(engine, workspace, *SMALL).communicate(timeout=600)
    result: dict[str, Any] = json.loads(out)
    assert result["status"] == "succeeded", err
    assert result["mlflow"]["version"] == 1
    wanted = [container.wanted for container in engine.containers.values()]
    assert len(wanted) == 4
    for each in wanted:
        assert each["Image"] == IMAGE
        assert each["User"] == f"{os.getuid()}:{os.getgid()}"
        assert {"OMP_NUM_THREADS=1", "HOME=/tmp"} <= set(each["Env"])
        mounts = {mount["Source"]: mount["ReadOnly"] for mount in each["HostConfig"]["Mounts"]}
        assert mounts == {str(workspace): False, str(Path.cwd()): True}


@pytest.mark.slow
def test_a_step_that_fails_in_its_container_fails_the_run_with_its_own_words(engine: DockerEngine, tmp_path: Path):
    damaged = tmp_path / "workspace" / "damaged.npz"
    damaged.parent.mkdir()
    damaged.write_bytes(b"PK\x03\x04 no archive")
    source = f"data.source={{kind: npz, path: {damaged}}}"
    run = begin(engine, tmp_path / "workspace", source)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 1, err
    failure = json.loads(out)
    assert (failure["status"], failure["step"]) == ("failed", "preprocess")
    assert "damaged.npz" in failure["reason"]
    assert "Traceback" not in err


def test_a_source_that_no_container_sees_is_refused(engine: DockerEngine, tmp_path: Path):
    (tmp_path / "raw.npz").write_bytes(b"")
    run = begin(engine, tmp_path / "workspace", f"data.source={{kind: npz, path: {tmp_path / 'raw.npz'}}}")
    _, err = run.communicate(timeout=120)
    assert run.returncode == 2
    assert err.startswith(f"error: data.source.path: {tmp_path / 'raw.npz'} is a path that no container sees; ")
    assert not engine.containers


@pytest.mark.slow
def test_an_interrupt_ends_the_container_at_work(engine: DockerEngine, tmp_path: Path):
    run = begin(engine, tmp_path / "workspace", "training.epochs=100000")
    deadline = time.monotonic() + 120
    while len(engine.containers) < 2:
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("interrupted; the same command again goes on from the last checkpoint")
    for container in engine.containers.values():
        if container.process is not None:
            container.process.wait(timeout=10)


@pytest.mark.slow
def test_an_interrupt_while_a_container_is_being_started_leaves_none(engine: DockerEngine, tmp_path: Path):
    engine.start_seconds = 5.0
    run = begin(engine, tmp_path / "workspace")
    deadline = time.monotonic() + 120
    while not any(container.process for container in engine.containers.values()):
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert run.returncode == 130
    (container,) = engine.containers.values()
    assert container.removed
    assert container.process is not None
    assert container.process.poll() is not None


@pytest.mark.slow
def test_an_image_that_is_not_there_is_said(engine: DockerEngine, tmp_path: Path):
    engine.images = ()
    run = begin(engine, tmp_path / "workspace")
    out, err = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "elboflow:cpu" in json.loads(out)["reason"]
    assert "Traceback" not in err
