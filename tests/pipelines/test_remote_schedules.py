"""`elboflow schedule …` and published versions on Vertex AI and Kubeflow; ticks come when the test says so."""

import re
from collections.abc import Iterator

import pytest

from tests.pipelines.remote import Done, Platform, running
from tests.servers.wire import wait_for

SCHEDULES = {"vertex": r"/v1/.*/schedules", "kubeflow": "/apis/v2beta1/recurringruns"}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in SCHEDULES])
def platform(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """A platform that rehearses."""
    platform: Platform = request.getfixturevalue(request.param)
    platform.server.faults.rehearsed = True
    platform.server.faults.answers["decide"] = "run"
    platform.server.schedules.clear()
    yield platform
    for id in running(platform.server):
        platform.server.runs[id].execution.close()


def create(platform: Platform, *arguments: str) -> Done:
    words = platform.run_words()
    begin = words.index("run")
    words[begin : begin + 1] = ["schedule", "create"]
    return platform.do([*words, "--cron", "0 2 * * *", "--timezone", "Europe/Berlin", "--json", *arguments])


def test_a_schedule_is_made_paused_resumed_run_and_deleted_in_the_same_words(platform: Platform):
    made = create(platform, "--if-changed")
    assert made.code == 0, made.err
    (id,) = platform.server.schedules
    (listed,) = platform.ask("schedule", "list", "--json").result["schedules"]
    assert id in listed.values()
    paused = platform.ask("schedule", "pause", id, "--json")
    assert (paused.code, paused.result["status"]) == (0, "paused"), paused.err
    resumed = platform.ask("schedule", "resume", id, "--json").result
    assert resumed["status"] == "active"
    assert resumed["if_changed"] is True
    assert (resumed["cron"], resumed["timezone"]) == ("0 2 * * *", "Europe/Berlin")
    by_hand = platform.ask("schedule", "run", id, "--json")
    assert by_hand.code == 0, by_hand.err
    ticked = platform.server.tick(id)
    assert ticked.execution.run.arguments["if_changed"] is True
    wait_for(lambda: not running(platform.server))
    history = platform.ask("schedule", "history", id)
    assert by_hand.result["run"] in history.out
    assert ticked.id in history.out
    deleted = platform.ask("schedule", "delete", id)
    assert (deleted.code, dict(platform.server.schedules)) == (0, {}), deleted.err
    assert ticked.id in platform.server.runs


def test_a_schedule_that_another_person_deleted_is_a_wrong_request_in_one_line(platform: Platform):
    assert create(platform).code == 0
    (id,) = platform.server.schedules
    platform.server.schedules.clear()
    for word in ("pause", "run", "delete"):
        done = platform.ask("schedule", word, id)
        assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
        assert "404" in done.said
        assert id in done.said
    assert not running(platform.server)


def test_a_connection_that_breaks_after_the_schedule_was_made_makes_no_second_one(platform: Platform):
    fault = platform.server.faults.reset("POST", SCHEDULES[platform.name])
    made = create(platform)
    assert (made.code, fault.met) == (0, 1), made.err
    assert len(platform.server.schedules) == 1


def test_a_published_version_is_run_and_scheduled_as_it_was_published(platform: Platform):
    words = platform.run_words()
    begin = words.index("run")
    words[begin : begin + 1] = ["publish"]
    del words[words.index("--workspace") : words.index("--workspace") + 2]
    published = platform.do([*words, "--version", "first"])
    assert published.code == 0, published.err
    platform.settings["training.epochs"] = "2"  # a later change of the experiment
    done = platform.run("--release", "first")
    assert done.code == 0, done.err
    released = platform.server.runs[done.result["run"]].execution.run.spec["root"]["inputDefinitions"]
    assert re.search(r'"epochs":\s*1\b', released["parameters"]["training"]["defaultValue"])
    made = create(platform, "--release", "first")
    assert made.code == 0, made.err
    (id,) = platform.server.schedules
    assert platform.server.tick(id).execution.run.spec["root"]["inputDefinitions"] == released
    unknown = platform.run("--release", "second")
    assert (unknown.code, len(unknown.err.splitlines())) == (2, 1), unknown.err
    assert "second" in unknown.said
