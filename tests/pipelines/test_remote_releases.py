"""Published versions on Vertex AI and Kubeflow: run, scheduled and followed as what they were when published."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.pipelines.remote import SMALL, Done, Platform

STEPS = ["decide", "preprocess", "train", "evaluate", "register", "finish"]


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("vertex", "kubeflow")])
def platform(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """A platform that rehearses, with a version `first`; the experiment is asked for as it comes."""
    platform: Platform = request.getfixturevalue(request.param)
    platform.server.faults.rehearsed = True
    platform.server.faults.answers["decide"] = "run"
    platform.server.schedules.clear()
    forget(platform)
    if platform.name == "vertex":
        platform.server.repository()
    before = set(platform.server.runs)
    words = platform.run_words()
    begin = words.index("run")
    words[begin : begin + 1] = ["publish"]
    del words[words.index("--workspace") : words.index("--workspace") + 2]
    published = platform.do([*words, "--version", "first"])
    assert published.code == 0, published.err
    platform.settings.clear()
    yield platform
    for id in set(platform.server.runs) - before:
        platform.server.runs[id].execution.close()


def forget(platform: Platform) -> None:
    """Deletes all published versions."""
    for name in ("repositories",) if platform.name == "vertex" else ("pipelines", "versions"):
        getattr(platform.server, name).clear()


def create(platform: Platform, *arguments: str) -> Done:
    words = platform.run_words()
    begin = words.index("run")
    words[begin : begin + 1] = ["schedule", "create"]
    return platform.do([*words, "--cron", "0 2 * * *", "--json", *arguments])


def trained_with(run: Any) -> str:
    """Returns the section `training` that the pipeline of a run holds."""
    train = run.execution.run.spec["components"]["comp-condition-2"]["dag"]["tasks"]["train"]
    return str(train["inputs"]["parameters"]["training"]["runtimeValue"]["constant"])


def test_a_published_version_is_run_and_scheduled_as_it_was_published(platform: Platform):
    done = platform.run("--release", "first")
    assert done.code == 0, done.err
    released = trained_with(platform.server.runs[done.result["run"]])
    assert re.search(rf'"epochs":\s*{SMALL["training.epochs"]}\b', released)
    made = create(platform, "--release", "first")
    assert made.code == 0, made.err
    (id,) = platform.server.schedules
    assert trained_with(platform.server.tick(id)) == released
    unknown = platform.run("--release", "second")
    assert (unknown.code, len(unknown.err.splitlines())) == (2, 1), unknown.err
    assert "second" in unknown.said


def test_a_run_of_a_version_is_followed_by_its_steps_and_each_line_of_its_log_comes_once(platform: Platform):
    done = platform.run("--release", "first")
    assert done.code == 0, done.err
    assert [line for line in done.err.splitlines() if line in STEPS] == STEPS
    shown = platform.ask("status", done.result["run"], "--json").result  # by a client that did not submit it
    assert (shown["status"], [step["name"] for step in shown["steps"]]) == ("succeeded", STEPS)
    logged = platform.ask("logs", done.result["run"]).out.splitlines()
    assert [line for line in logged if "rehearsing" in line] == [f"{s}: rehearsing {s}" for s in STEPS]


def test_a_run_of_a_version_that_decides_that_nothing_changed_is_skipped(platform: Platform):
    platform.server.faults.answers["decide"] = "skip"
    done = platform.run("--release", "first", "--if-changed")
    assert (done.code, done.result["status"]) == (0, "skipped"), done.err
    shown = platform.ask("status", done.result["run"], "--json").result
    assert shown["status"] == "skipped"
    assert [step["name"] for step in shown["steps"] if step["status"] == "succeeded"] == ["decide", "finish"]


def test_a_run_of_a_version_that_was_deleted_since_is_still_shown(platform: Platform):
    done = platform.run("--release", "first")
    forget(platform)
    shown = platform.ask("status", done.result["run"], "--json")
    assert (shown.code, shown.result["status"]) == (0, "succeeded"), shown.err
    names = [step["name"] for step in shown.result["steps"]]
    assert set(STEPS) <= set(names)
    assert not [name for name in names if "driver" in name or name == "executor"]


@pytest.mark.parametrize("command", ["run", "schedule create"])
def test_a_setting_that_a_published_version_cannot_heed_is_refused(platform: Platform, command: str):
    ask = platform.run if command == "run" else lambda *words: create(platform, *words)
    before = len(platform.server.requests)
    done = ask("--release", "first", "--set", "training.epochs=7")
    assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
    assert "--set training.epochs=7: has no effect on the published version first" in done.said
    assert len(platform.server.requests) == before
