"""`elboflow schedule …` on Vertex AI and Kubeflow; ticks come when the test says so."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any

import pytest
from google.cloud.aiplatform_v1 import types

from elboflow.testing.platforms.wire import wait_for
from pipelines.commands import schedule_backfill
from tests.pipelines.remote import Done, Platform, running

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
    from pipelines.targets.kubeflow.recurring import five_fields, next_tick, six_fields
    from pipelines.timing import Timing

    assert five_fields(six_fields("0 2 * * 1-5")) == "0 2 * * 1-5"
    assert five_fields("0 30 2 * *") == "30 2 * * *"  # Kubeflow's, without a weekday
    assert next_tick(Timing(five_fields("@every 2h"))) is None
    assert next_tick(Timing(five_fields("0 30 2 * * ?"))) is None


def apply(platform: Platform, *words: str, **keys: str) -> Done:
    """Applies one file, which holds one schedule with further keys."""
    folder = platform.workspace.parent
    targets = f"targets:\n  {platform.name}: {platform.target}\n"
    if platform.name == "kubeflow":
        targets = targets.replace("}", ", timezone: Europe/Berlin}")
    digits = resources.files("pipelines").joinpath("experiments/digits.yaml").read_text(encoding="utf-8")
    (folder / "digits.yaml").write_text(f"{digits}\n{targets}", encoding="utf-8")
    settings = json.dumps({**platform.settings, "training.epochs": keys.pop("epochs", "1")})
    lines = {"cron": "0 2 * * *", "timezone": "Europe/Berlin", "name": "nightly", "experiment": "digits.yaml", **keys}
    text = f"set: {settings}\ntarget: {platform.name}\n" + "".join(f"{key}: {value}\n" for key, value in lines.items())
    (folder / "schedule.yaml").write_text(text, encoding="utf-8")
    words = ("schedule", "apply", str(folder / "schedule.yaml"), "--workspace", str(platform.workspace), *words)
    return platform.do([*platform.words()[:3], *words])


def applied(platform: Platform, *words: str, **keys: str) -> list[tuple[str, str, dict[str, Any]]]:
    done = apply(platform, "--json", *words, **keys)
    assert done.code == 0, done.err
    changes = done.result["schedules"]
    return [(change["name"], change["action"], change["differences"]) for change in changes]


def test_a_schedule_of_a_file_is_made_once_changed_by_key_and_stays_paused(platform: Platform):
    assert applied(platform) == [("nightly", "create", {})]
    assert applied(platform) == [("nightly", "keep", {})]
    assert platform.ask("schedule", "pause", "nightly").code == 0
    ((_, action, differences),) = applied(platform, "--diff", cron="0 3 * * *", epochs="2", max_active="2")
    pipeline = differences.pop("pipeline")
    assert (action, differences) == (
        "change", {"cron": ["0 2 * * *", "0 3 * * *"], "max_active": [1, 2], "training.epochs": [1, 2]},
    )  # fmt: skip
    assert pipeline[0] != pipeline[1]
    assert platform.ask("schedule", "show", "nightly", "--json").result["cron"] == "0 2 * * *"
    before = set(platform.server.schedules)
    changed = {"cron": "0 3 * * *", "epochs": "2", "max_active": "2"}
    assert applied(platform, **changed)[0][1] == "change"
    assert applied(platform, **changed) == [("nightly", "keep", {})]
    assert len(platform.server.schedules) == 1
    assert (set(platform.server.schedules) == before) == (platform.name == "vertex")  # Kubeflow changes none
    shown = platform.ask("schedule", "show", "nightly", "--json").result
    assert (shown["cron"], shown["max_active"], shown["status"]) == ("0 3 * * *", 2, "paused")
    assert applied(platform, **changed, paused="false")[0][2] == {"paused": [True, False]}
    assert platform.ask("schedule", "show", "nightly", "--json").result["status"] == "active"


def test_a_schedule_that_its_file_pauses_is_active_at_no_time_of_its_making(platform: Platform):
    pauses = {"vertex": ("POST", r"/v1/.*/schedules/\d+:pause"), "kubeflow": ("POST", ".*:disable")}
    platform.server.faults.refuse(*pauses[platform.name], 400)
    made = apply(platform, paused="true", end="'2100-01-01'")
    (id,) = platform.server.schedules
    if platform.name == "vertex":  # which makes none paused
        assert made.code == 2, made.err
        next = platform.server.next_tick(id)
        assert next is not None
        assert next > datetime.now(UTC) + timedelta(days=364)
    else:
        assert made.code == 0, made.err
        assert platform.server.schedules[id]["status"] == "DISABLED"
    platform.server.faults.clear()
    repeated = {"vertex": "change", "kubeflow": "keep"}[platform.name]
    assert applied(platform, paused="true", end="'2100-01-01'")[0][1] == repeated
    assert applied(platform, paused="true", end="'2100-01-01'") == [("nightly", "keep", {})]
    shown = platform.ask("schedule", "show", id, "--json").result
    assert (shown["status"], shown["next"]) == ("paused", None)
    assert shown["end"].startswith("2099-12-31T23:00")


def test_prune_deletes_what_an_apply_made_and_nothing_made_by_hand(platform: Platform):
    assert create(platform).code == 0
    assert create(platform, "--name", "by-hand").code == 0
    refused = create(platform, "--name", "by-hand")
    assert (refused.code, len(refused.err.splitlines())) == (2, 1)
    assert "has this name; delete it, or choose another" in refused.said
    assert "by-hand of " + platform.name + " was made by hand" in apply(platform, name="by-hand").said
    applied(platform)
    assert [change[:2] for change in applied(platform, "--prune", name="other")] == [
        ("other", "create"), ("nightly", "delete")
    ]  # fmt: skip
    names = {each["name"] for each in platform.ask("schedule", "list", "--json").result["schedules"]}
    assert names == {None, "by-hand", "other"}


def test_what_an_apply_that_was_cut_off_has_left_is_ended_by_the_next(platform: Platform):
    fault = platform.server.faults.reset("POST", SCHEDULES[platform.name])
    assert applied(platform) == [("nightly", "create", {})]
    assert (fault.met, len(platform.server.schedules)) == (1, 1)
    if platform.name == "kubeflow":  # killed after the replacement was made, and before the old one was deleted
        (old,) = platform.server.schedules.values()
        assert applied(platform, cron="0 3 * * *")[0][1] == "change"
        platform.server.schedules[old["recurring_run_id"]] = old
        assert [change[:2] for change in applied(platform, cron="0 3 * * *")] == [
            ("nightly", "keep"), ("nightly", "delete")
        ]  # fmt: skip
        assert old["recurring_run_id"] not in platform.server.schedules


@pytest.mark.xdist_group("vertex")
def test_an_ended_schedule_of_vertex_is_not_taken_for_its_replacement_where_the_request_is_repeated(vertex: Platform):
    applied(vertex)
    ((id, old),) = vertex.server.schedules.items()
    old.message.state = types.Schedule.State.COMPLETED
    old.message.create_time = datetime(2100, 1, 1, tzinfo=UTC)  # the list may begin with it
    fault = vertex.server.faults.refuse("POST", SCHEDULES["vertex"], 503)
    assert applied(vertex, cron="0 3 * * *")[0][1] == "change"
    assert fault.met == 1
    ((replacement, made),) = vertex.server.schedules.items()
    assert replacement != id
    assert made.message.state == types.Schedule.State.ACTIVE


def test_a_platform_that_refuses_halfway_leaves_one_sentence_and_the_schedule_as_it_was(platform: Platform):
    applied(platform)
    changes = {"vertex": ("PATCH", r"/v1/.*/schedules/\d+"), "kubeflow": ("POST", SCHEDULES["kubeflow"])}
    platform.server.faults.refuse(*changes[platform.name], 400)
    done = apply(platform, cron="0 3 * * *")
    assert (done.code, len(done.err.splitlines())) == (2, 2), done.err
    assert "~ nightly" in done.out
    assert "; put that right, and the same command again does the rest (1 of 1)" in done.said
    assert platform.ask("schedule", "show", "nightly", "--json").result["cron"] == "0 2 * * *"


TABLE = {
    "data.source": "{kind: csv, path: 'gs://bucket/{date}/*.csv'}",
    "data.features": "{amount: number}",
    "model": "{input: amount, latent: 2, likelihood: normal}",
}
DATED = [word for key, value in TABLE.items() for word in ("--set", f"{key}={value}")]


@pytest.mark.slow
def test_a_late_tick_of_a_platform_reads_the_day_that_it_was_meant_for(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
):
    if platform.name == "kubeflow":
        monkeypatch.setattr(platform.server, "version", "2.17.1")
    platform.server.faults.rehearsed = False
    platform.server.faults.break_step(2, "fails")  # what follows the first step
    platform.settings = {}
    made = create(platform, *DATED)
    assert made.code == 0, made.err
    (id,) = platform.server.schedules
    ticked = platform.server.tick(id, datetime(2026, 11, 28, 23, 30, tzinfo=UTC))  # half past midnight in Berlin
    wait_for(lambda: not running(platform.server), 60)
    (step,) = [step for step in ticked.execution.steps.values() if step.name == "resolve-date"]
    assert step.outputs["date"] == "2026-11-29", step.log.read_text(encoding="utf-8")
    assert json.loads(step.outputs["data"])["source"]["path"] == "gs://bucket/2026-11-29/*.csv"


@pytest.mark.xdist_group("vertex")
def test_a_night_of_vertex_that_ended_before_its_date_was_known_is_repeated_for_its_own_date(vertex: Platform):
    vertex.server.faults.rehearsed = True
    vertex.server.schedules.clear()
    vertex.settings = {}
    vertex.server.faults.break_step("resolve-date", "fails")

    def failed(*words: str) -> Any:
        assert create(vertex, *DATED, *words).code == 0
        *_, id = vertex.server.schedules
        run = vertex.server.tick(id)
        wait_for(lambda: not running(vertex.server))
        run.execution.created = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)  # half past midnight in Berlin
        return run

    run = failed()
    again = vertex.ask("runs", "retry", run.id, "--json").result["run"]
    assert vertex.server.runs[again].execution.run.arguments["date"] == "2026-11-21T00:30"
    refused = vertex.ask("runs", "retry", failed("--catch-up", "all").id)
    assert (refused.code, len(refused.err.splitlines())) == (2, 1), refused.err
    assert "Vertex AI does not tell for which date it was started" in refused.said
    vertex.server.schedules.clear()


@pytest.mark.xdist_group("kubeflow")
def test_a_kubeflow_that_does_not_tell_the_scheduled_time_is_refused_by_its_version(kubeflow: Platform):
    kubeflow.server.schedules.clear()
    kubeflow.settings = {}
    refused = create(kubeflow, *DATED)
    assert (refused.code, len(refused.err.splitlines())) == (2, 1), refused.err
    assert "which Kubeflow Pipelines tells from version 2.17 on; this one is 2.15.2" in refused.said
    assert not kubeflow.server.schedules


def test_a_backfill_submits_a_run_for_each_date_and_a_rerun_only_those_that_failed(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
):
    if platform.name == "kubeflow":
        monkeypatch.setattr(platform.server, "version", "2.17.1")
    monkeypatch.setitem(schedule_backfill.PAUSES, platform.name, 0.05)
    platform.server.runs.clear()
    platform.settings = {}
    assert create(platform, *DATED, "--name", "nightly").code == 0
    platform.server.faults.break_step(3, "fails")
    days = ("--from", "2026-11-01", "--to", "2026-11-02")
    failed = platform.ask("schedule", "backfill", "nightly", *days)
    assert (failed.code, "2 of 2 dates failed" in failed.said) == (1, True), failed.err
    platform.server.faults.clear()
    platform.server.faults.rehearsed, platform.server.faults.answers = True, {"decide": "run"}
    done = platform.ask("schedule", "backfill", "nightly", *days, "--json")
    assert done.code == 0, done.err
    dates = [run.execution.run.arguments["date"] for run in platform.server.runs.values()]
    assert dates == ["2026-11-01T02:00", "2026-11-02T02:00"] * 2
    assert list(done.result["runs"]) == dates[:2]
    assert platform.ask("schedule", "backfill", "nightly", *days).code == 0
    assert len(platform.server.runs) == 4


def test_a_backfill_of_data_without_dates_is_refused(platform: Platform):
    assert create(platform, "--name", "nightly").code == 0
    refused = platform.ask("schedule", "backfill", "nightly", "--from", "2026-11-01", "--to", "2026-11-02")
    assert (refused.code, len(refused.err.splitlines())) == (2, 1), refused.err
    assert "the data of the schedule" in refused.said
    assert "have no {date}" in refused.said
