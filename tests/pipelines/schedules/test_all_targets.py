"""Schedules of this machine, of Kubeflow and of Vertex AI in one table."""

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


def test_a_platform_that_hangs_is_a_line_of_the_table(vertex: Platform, monkeypatch: pytest.MonkeyPatch):
    from pipelines.schedules.everywhere import everywhere

    from pipelines.workspace import Workspace

    vertex.server.faults.rehearsed = True
    words = vertex.run_words("--cron", "0 2 * * *")
    words[words.index("run") : words.index("run") + 1] = ["schedule", "create"]
    assert vertex.do(words).code == 0
    vertex.server.faults.delay("GET", r"/v1/.*/schedules", seconds=20)
    for name, value in vertex.environment.items():
        monkeypatch.setenv(name, value)
    schedules, unreachable = everywhere(Workspace(vertex.workspace), patience=6)
    assert schedules == []
    assert [target.reason for target in unreachable] == [
        "no answer within 6 s; `elboflow schedule list --target vertex` says why"
    ]
