"""What a person sees of a platform that refuses, breaks off, hangs or fails: one line that says what to do.

The platforms take what is submitted and go through its steps without executing them.
"""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from elboflow.testing.platforms.wire import wait_for
from pipelines import follow
from tests.pipelines.remote import Done, Platform, running

RUNS = {"vertex": r"/v1/.*/pipelineJobs", "kubeflow": "/apis/v2beta1/runs"}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in RUNS])
def platform(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """A platform that rehearses."""
    platform: Platform = request.getfixturevalue(request.param)
    platform.server.faults.rehearsed = True
    platform.server.faults.answers["decide"] = "run"
    before = set(platform.server.runs)
    yield platform
    for id in set(platform.server.runs) - before:
        platform.server.runs[id].execution.close()


@pytest.fixture
def before(platform: Platform) -> set[str]:
    """The runs that were there before."""
    return set(platform.server.runs)


def told(done: Done, code: int, *words: str) -> None:
    """Checks that a command ended with a code, and said why in one line."""
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.err
    assert lines[0] == done.said
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, 2, ["400", "injected"]),
        (401, 2, ["401", "credentials"]),
        (403, 2, ["403", "needs"]),
        (404, 2, ["404", "look at"]),
        (409, 2, ["409"]),
    ],
)
def test_a_refused_submission_is_a_wrong_request_and_leaves_no_run(
    platform: Platform, before: set[str], status: int, code: int, words: list[str]
):
    fault = platform.server.faults.refuse("POST", RUNS[platform.name], status, times=None)
    told(platform.run(), code, *words)
    # None of them is mended by asking again; Google's client gets a new token first, where one may be too old.
    assert fault.met == (3 if (platform.name, status) == ("vertex", 401) else 1)
    assert set(platform.server.runs) == before


@pytest.mark.xdist_group("kubeflow")
def test_a_kubeflow_that_is_too_old_for_the_exit_task_is_told_the_version_it_needs(kubeflow: Platform):
    refusal = "Internal error: failed to add implicit deps: task final status not supported yet"
    kubeflow.server.faults.refuse("POST", RUNS["kubeflow"], 400, refusal, times=None)
    told(kubeflow.run(), 2, refusal, "(Kubeflow Pipelines must be 2.14.0 or newer)")


def test_a_platform_that_asks_to_wait_is_asked_again_when_it_said(platform: Platform, before: set[str]):
    platform.server.faults.refuse("POST", RUNS[platform.name], 429, Retry_After="1")
    started = time.monotonic()
    done = platform.run("--no-wait")
    assert done.code == 0, done.err
    assert time.monotonic() - started > 1
    assert len(set(platform.server.runs) - before) == 1


def test_a_platform_that_keeps_failing_is_given_up_and_leaves_no_run(platform: Platform, before: set[str]):
    fault = platform.server.faults.refuse("POST", RUNS[platform.name], 500, "broken inside", times=None)
    told(platform.run(), 1, "500", "broken inside", "try again")
    assert fault.met > 2
    assert set(platform.server.runs) == before


def test_a_connection_that_breaks_after_the_submission_makes_no_second_run(platform: Platform, before: set[str]):
    fault = platform.server.faults.reset("POST", RUNS[platform.name])
    done = platform.run()
    assert done.code == 0, done.err
    assert fault.met == 1
    (run,) = set(platform.server.runs) - before
    assert done.result["run"] == run


def test_a_run_that_decides_that_nothing_changed_is_skipped_with_exit_code_0(platform: Platform):
    platform.server.faults.answers["decide"] = "skip"
    done = platform.run("--if-changed")
    assert done.code == 0, done.err
    assert done.result["status"] == "skipped"
    (run,) = [platform.server.runs[done.result["run"]]]
    assert run.execution.run.arguments["if_changed"] is True
    assert [step.name for step in run.execution.steps.values() if step.kind == "step"] == ["decide", "finish"]


def test_a_failure_in_the_third_step_ends_the_command_with_the_step_and_exit_code_1(platform: Platform):
    platform.server.faults.break_step(3, "fails")
    done = platform.run()
    told(done, 1, "failed in train")
    again = f"runs retry {done.result['run']} --target {platform.name} --workspace {platform.workspace}"
    *_, here, repeated, _ = done.err.splitlines()
    assert repeated.endswith(again)
    block = done.err[done.err.index(f"--- train of {done.result['run']} failed") :]
    assert "\nthe end of its log:\n  error: broken on purpose\n" in block, block
    step = f"step train --from-run {done.result['run']} --target {platform.name} --workspace {platform.workspace}"
    assert here.endswith(f"{step} --output train")
    assert done.result["status"] == "failed"
    states = {step["name"]: step["status"] for step in done.result["steps"]}
    assert states["train"] == "failed"
    assert states["finish"] == "succeeded"
    assert "register" not in states or states["register"] == "skipped"
    logs = platform.ask("logs", done.result["run"], "--step", "train")
    assert logs.code == 0
    assert "broken on purpose" in logs.out


@pytest.mark.xdist_group("vertex")
def test_ctrl_c_leaves_the_run_going_and_says_how_to_attach_again(vertex: Platform):
    vertex.server.faults.rehearsed = True
    vertex.server.faults.answers["decide"] = "run"
    vertex.server.faults.break_step(2, "hangs")
    before = set(vertex.server.runs)
    process = vertex.start(vertex.run_words())
    assert process.stderr is not None
    seen = ""
    while "preprocess" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    (id,) = set(vertex.server.runs) - before
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.splitlines()[-1]) == (130, "", "interrupted")
    assert "Traceback" not in err
    (again,) = re.findall(r"to follow it again: (.*)", err)
    assert again.endswith(f"runs attach {id} --target vertex --workspace {vertex.workspace}")
    assert id in running(vertex.server)
    vertex.server.runs[id].execution.close()


def test_a_run_is_seen_at_work_and_cancelled(platform: Platform):
    platform.server.faults.break_step(2, "hangs")
    id = platform.run("--no-wait").result["run"]
    wait_for(lambda: "preprocess" in [step.name for step in platform.server.runs[id].execution.steps.values()])
    status = platform.ask("status", id, "--json").result
    assert status["status"] == "running"
    assert {step["name"]: step["status"] for step in status["steps"]}["preprocess"] == "running"
    assert platform.ask("cancel", id).code == 0
    attached = platform.ask("runs", "attach", id)
    assert attached.code == 1
    assert "cancelled" in attached.said
    wait_for(lambda: id not in running(platform.server))
    assert platform.ask("cancel", id).code == 0  # without effect on one that has ended


def test_runs_are_listed_and_a_run_that_is_not_there_is_a_wrong_request(platform: Platform):
    started = platform.run("--no-wait")
    assert started.code == 0, started.err
    id = started.result["run"]
    listed = platform.ask("runs", "list", "--json")
    assert listed.result["runs"][0]["run"] == id
    told(platform.ask("status", "absent"), 2, "absent")
    wait_for(lambda: id not in running(platform.server))
    attached = platform.ask("runs", "attach", id)
    assert attached.code == 0, attached.err
    logs = platform.ask("logs", id)
    assert "train: rehearsing train" in logs.out


def test_a_follower_outlasts_a_platform_that_is_out_of_reach_for_a_while(platform: Platform):
    fault = platform.server.faults.refuse("GET", f"{RUNS[platform.name]}/.*", 503, times=7)
    done = platform.run()
    assert done.code == 0, done.err
    assert fault.met == 7


@pytest.mark.parametrize(("status", "words"), [(401, "credentials"), (404, "look at"), (503, "injected")])
def test_whatever_ends_the_following_says_that_the_run_goes_on_and_never_that_nothing_was_started(
    platform: Platform, before: set[str], monkeypatch: pytest.MonkeyPatch, status: int, words: str
):
    monkeypatch.setattr(follow, "PATIENCE", 0.0)
    platform.server.faults.refuse("GET", f"{RUNS[platform.name]}/.*", status, times=None)
    done = platform.run()
    told(done, 1, str(status), words)
    (id,) = set(platform.server.runs) - before
    (again,) = re.findall(r"the run goes on; to follow it again: (.*)", done.err)
    assert again.endswith(f"runs attach {id} --target {platform.name} --workspace {platform.workspace}")
    assert (done.result["run"], done.result["status"] in ("pending", "running")) == (id, True)
    platform.server.faults.clear()
    assert platform.ask("runs", "attach", id).code == 0


LOGS = {"vertex": ("POST", "/v2/entries:list"), "kubeflow": ("GET", "/apis/v1alpha1/runs/.*/log")}


def test_a_log_that_cannot_be_had_for_a_moment_is_asked_for_again(platform: Platform):
    done = platform.run()
    fault = platform.server.faults.refuse(*LOGS[platform.name], 503, times=2)
    logs = platform.ask("logs", done.result["run"], "--step", "train")
    assert (logs.code, fault.met) == (0, 2), logs.err
    assert logs.out == "rehearsing train\n"


@pytest.mark.xdist_group("kubeflow")
def test_a_list_of_the_latest_runs_on_kubeflow_reads_no_more_of_them_and_none_of_others(kubeflow: Platform):
    kubeflow.server.faults.rehearsed = True
    started = [kubeflow.run("--no-wait").result["run"] for _ in range(3)]
    kubeflow.server.requests.clear()
    listed = kubeflow.ask("runs", "list", "--limit", "2", "--json").result["runs"]
    assert [run["run"] for run in listed] == [started[2], started[1]]
    (asked,) = kubeflow.server.asked("GET", RUNS["kubeflow"])
    assert asked.one("page_size") == "2"
    assert asked.one("experiment_id") in kubeflow.server.experiments


def test_a_platform_that_nobody_can_reach_is_named_with_what_to_look_at(platform: Platform, tmp_path: Path):
    platform.target = re.sub(r"localhost:\d+", "localhost:9", platform.target)
    told(platform.run(), 1, "cannot be reached", "localhost:9")
    assert not platform.workspace.exists()
