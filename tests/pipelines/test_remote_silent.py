"""Platforms that answer too slowly, without an end, or not at all: each command ends, and says why."""

import time

import pytest

from components.surroundings import waiting
from elboflow.testing.platforms.faults import WIRE
from tests.pipelines.remote import Platform

SECONDS = 1.0
SILENCES = ["never answers", *(pytest.param(how, marks=pytest.mark.slow) for how in [*WIRE, "answers 500"])]
COMMANDS = [("runs", "list"), ("status", "some-run"), ("schedule", "list")]


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("kubeflow", "vertex")])
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setattr(waiting, "_servers", {})  # which were given up in the test before
    platform: Platform = request.getfixturevalue(request.param)
    return platform


@pytest.fixture
def known(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A platform that its workspace remembers, and that has a second to answer from now on."""
    platform.server.faults.rehearsed = True
    assert platform.run("--no-wait").code == 0
    for run in platform.server.runs.values():
        run.execution.close()
    monkeypatch.setattr(waiting, "ANSWER_SECONDS", SECONDS)
    monkeypatch.setattr(waiting, "NOTICE_SECONDS", SECONDS / 2)
    return platform


@pytest.mark.parametrize("how", SILENCES)
def test_a_platform_that_does_not_answer_ends_every_command_within_the_time(known: Platform, how: str):
    for method in ("GET", "POST"):
        if how in WIRE:
            known.server.faults.break_off(method, ".*", how)
        elif how == "answers 500":
            known.server.faults.refuse(method, ".*", 500, times=None)
        else:
            known.server.faults.delay(method, ".*", 3600, times=None)
    for command in COMMANDS:
        started = time.monotonic()
        done = known.ask(*command)
        assert time.monotonic() - started < SECONDS + 4, command
        assert done.code == 1, done.err
        assert "Traceback" not in done.err
        assert len([line for line in done.err.splitlines() if line.startswith("error: ")]) == 1, done.err
