"""Schedules of this machine, of Kubeflow and of Vertex AI in one table."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipelines.remote import Platform

pytestmark = pytest.mark.xdist_group("schedules")


def test_one_table_has_the_schedules_of_all_three_targets_with_times_of_the_same_meaning(
    kubeflow: Platform, vertex: Platform
):
    assert kubeflow.workspace == vertex.workspace
    made = {}
    for platform in (kubeflow, vertex):
        platform.server.faults.rehearsed = True
        platform.server.schedules.clear()
        words = platform.run_words("--cron", "0 2 * * 5-7", "--timezone", "Europe/Berlin", "--json")
        words += ["--set", "targets.kubeflow.timezone=Europe/Berlin"] * (platform is kubeflow)
        words[words.index("run") : words.index("run") + 1] = ["schedule", "create"]
        done = platform.do(words)
        assert done.code == 0, done.err
        made[platform.name] = done.result
    here = [
        *vertex.words()[:-4],
        "schedule",
        "create",
        "digits",
        "--cron",
        "0 2 * * 5-7",
        "--timezone",
        "Europe/Berlin",
    ]
    local = vertex.do([*here, "--workspace", str(vertex.workspace), "--json"])
    made["local"] = local.result
    table = [*vertex.words()[:-4], "schedule", "list", "--all-targets", "--workspace", str(vertex.workspace)]
    listed = vertex.do([*table, "--json"])
    assert listed.code == 0, listed.err
    assert listed.result["unreachable"] == []
    found = {schedule["target"]: schedule for schedule in listed.result["schedules"]}
    assert {name: schedule["schedule"] for name, schedule in found.items()} == {
        name: schedule["schedule"] for name, schedule in made.items()
    }
    assert {schedule["next"] for schedule in found.values()} == {made["local"]["next"]}
    assert {schedule["timezone"] for schedule in found.values()} == {"Europe/Berlin"}
    assert {schedule["experiment"] for schedule in found.values()} == {"digits"}
    lines = vertex.do(table).out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["local", "kubeflow", "vertex"]


ASKS = """
import sys
from pathlib import Path
from pipelines.connect import of_all_targets
from pipelines.workspace import Workspace

schedules, unreachable = of_all_targets(Workspace(Path(sys.argv[1])), patience=3)
print(*[f"{target.target}: {target.reason}" for target in unreachable], sep="\\n")
"""


def test_a_platform_that_hangs_is_a_line_of_the_table_and_does_not_delay_the_end_of_the_command(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and never answers
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        memory = {"kubeflow": {"host": host, "namespace": "kubeflow"}}
        (tmp_path / "targets.json").write_text(json.dumps(memory), encoding="utf-8")
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "-c", ASKS, str(tmp_path)], capture_output=True, encoding="utf-8")
    assert time.monotonic() - begun < 30  # a request has 60 s for its answer
    assert done.returncode == 0, done.stderr
    assert done.stdout == "kubeflow: no answer within 3 s; `elboflow schedule list --target kubeflow` says why\n"
