"""`elboflow schedule …` on Vertex AI and Kubeflow; ticks come when the test says so."""

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
    words += ["--cron", "0 2 * * *", "--timezone", "Europe/Berlin", "--json"]
    if platform.name == "kubeflow":
        words += ["--set", "targets.kubeflow.timezone=Europe/Berlin"]
    return platform.do([*words, *arguments])


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


def test_a_run_of_a_schedule_that_failed_is_repeated_and_stays_in_the_schedule_s_history(platform: Platform):
    assert create(platform).code == 0
    (id,) = platform.server.schedules
    platform.server.faults.break_step(3, "fails")
    ticked = platform.server.tick(id)
    wait_for(lambda: not running(platform.server))
    platform.server.faults.break_step(3, "is killed")  # of which another try makes good
    repeated = platform.ask("runs", "retry", ticked.id, "--json")
    assert repeated.code == 0, repeated.err
    history = platform.ask("schedule", "history", id, "--json").result["history"]
    assert [run["run"] for run in history] == [*dict.fromkeys([repeated.result["run"], ticked.id])]


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


@pytest.mark.xdist_group("kubeflow")
def test_kubeflow_is_sent_six_plain_fields_and_another_zone_than_its_controller_s_is_refused(kubeflow: Platform):
    kubeflow.server.faults.rehearsed = True
    kubeflow.server.schedules.clear()
    refused = create(kubeflow, "--set", "targets.kubeflow.timezone=UTC")
    assert (refused.code, len(refused.err.splitlines())) == (2, 1), refused.err
    assert (
        "timezone 'Europe/Berlin': Kubeflow has one for all schedules, by targets.kubeflow.timezone UTC" in refused.said
    )
    assert "CRON_SCHEDULE_TIMEZONE" in refused.said
    assert not kubeflow.server.schedules
    made = create(kubeflow, "--cron", "0 2 * * 5-7")
    assert (made.code, made.result["timezone"]) == (0, "Europe/Berlin"), made.err
    (schedule,) = kubeflow.server.schedules.values()
    assert schedule["trigger"]["cron_schedule"]["cron"] == "0 0 2 * * 0,5,6"


def test_what_others_made_on_kubeflow_by_a_cron_of_another_kind_is_listed_without_a_next_tick():
    from pipelines.targets.kubeflow.schedules import _next, five_fields, six_fields
    from pipelines.timing import Timing

    assert five_fields(six_fields("0 2 * * 1-5")) == "0 2 * * 1-5"
    assert five_fields("0 30 2 * *") == "30 2 * * *"  # Kubeflow's, without a weekday
    assert _next(Timing(five_fields("@every 2h"))) is None
    assert _next(Timing(five_fields("0 30 2 * * ?"))) is None
