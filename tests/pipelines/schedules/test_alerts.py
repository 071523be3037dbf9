"""What the scheduler tells of ticks that were missed, are late, or whose runs hang: each once."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from elboflow.settings import RequestError
from elboflow.testing.platforms.wire import wait_for
from pipelines.cli import app
from pipelines.experiment import load
from pipelines.schedules.alerts import new_alerts
from pipelines.schedules.daemon import Daemon
from pipelines.schedules.launch import Processes
from pipelines.schedules.one_pass import one_pass
from pipelines.schedules.states import Key, Tick
from pipelines.schedules.store import Store
from pipelines.targets.submission import specification
from pipelines.timing import Timing
from tests.pipelines.schedules.world import World, add, utc

NIGHT = utc(2026, 11, 29, 2)
NOTIFY = {"kind": "command", "command": ["./page.sh"], "when": ["missed", "late", "hanging"]}
EXPERIMENT: dict[str, Any] = {"name": "nightly", "notify": NOTIFY, "schedule": {"deadline_minutes": 60}}


def told(workspace: Path, now: datetime) -> list[tuple[str, str]]:
    with Store(workspace) as store:
        alerts = new_alerts(store, workspace, now)
        assert new_alerts(store, workspace, now) == []  # each is told once
    return [(alert.end.status, alert.end.reason or "") for alert in alerts]


def test_missed_ticks_are_told_once_and_so_are_those_that_are_missed_later(tmp_path: Path):
    add(tmp_path, Timing("0 2 * * *"), NIGHT - timedelta(hours=1), experiment=EXPERIMENT)
    world, later = World(tmp_path, 0, NIGHT + timedelta(days=2, hours=3)), timedelta(days=2)
    world.look()
    ((status, reason),) = told(tmp_path, world.now)
    assert (status, reason.startswith("3 ticks up to that of 2026-12-01 02:00 UTC did not run: no sched")) == (
        "missed",
        True,
    )
    world.now += later
    world.look()
    ((status, reason),) = told(tmp_path, world.now)
    assert (status, reason.startswith("5 ticks up to that of 2026-12-03")) == ("missed", True)


def test_a_tick_that_has_not_begun_after_five_minutes_is_late_and_is_told_once(tmp_path: Path):
    add(tmp_path, Timing("0 2 * * *"), NIGHT - timedelta(hours=1), experiment=EXPERIMENT)
    with Store(tmp_path) as store:
        one_pass(store, Processes(tmp_path), tmp_path, NIGHT, 0)  # a machine that is full
    assert told(tmp_path, NIGHT + timedelta(minutes=5)) == []
    late = [("late", "the tick of 2026-11-29 02:00 UTC has not begun yet")]
    assert told(tmp_path, NIGHT + timedelta(minutes=6)) == late
    assert told(tmp_path, NIGHT + timedelta(minutes=60)) == []


def test_all_ticks_that_became_late_at_one_look_are_one_message_and_none_where_nobody_asked(
    tmp_path: Path,
):
    for name, when in (("asked", ["late"]), ("unasked", ["missed"])):
        experiment = EXPERIMENT | {"name": name, "notify": NOTIFY | {"when": when}}
        add(tmp_path, Timing("0 * * * *", catch_up="all"), NIGHT, f"{name}-1", name=name, experiment=experiment)
    now = NIGHT + timedelta(days=30)
    with Store(tmp_path) as store:
        one_pass(store, Processes(tmp_path), tmp_path, now, 0)
        asked, unasked = new_alerts(store, tmp_path, now)
        assert new_alerts(store, tmp_path, now + timedelta(minutes=1)) == []
    reason = "719 ticks have not begun yet; the oldest is that of 2026-11-29 03:00 UTC"
    assert [alert.end.reason for alert in (asked, unasked)] == [reason] * 2
    assert asked.notification is not None
    assert unasked.notification is None


def test_a_run_that_takes_longer_than_its_deadline_hangs(tmp_path: Path):
    add(tmp_path, Timing("0 2 * * *"), NIGHT - timedelta(hours=1), experiment=EXPERIMENT)
    with Store(tmp_path) as store:
        store.record([Tick(Key("nightly-1", NIGHT), "tick", "running", started=NIGHT, run="nightly-x")])
    assert told(tmp_path, NIGHT + timedelta(minutes=60)) == []
    hangs = [("hanging", "the run takes longer than 60 minutes (schedule.deadline_minutes)")]
    assert told(tmp_path, NIGHT + timedelta(minutes=61)) == hangs
    assert told(tmp_path, NIGHT + timedelta(minutes=70)) == []


def test_the_scheduler_sends_it_to_a_command_in_the_schedule_s_folder(tmp_path: Path):
    page = tmp_path / "page.sh"
    page.write_text("#!/bin/sh\ncat > told.json\n", encoding="utf-8")
    page.chmod(0o755)
    begin = datetime.now(UTC) - timedelta(hours=3)
    add(tmp_path, Timing("0 * * * *"), begin, experiment=EXPERIMENT)

    class Idle(Processes):
        def start(self, key: Key) -> None:
            pass

    with Daemon(tmp_path, Idle(tmp_path)) as daemon:
        daemon.look()
        wait_for(lambda: (tmp_path / "told.json").is_file() and bool((tmp_path / "told.json").read_bytes()))
        message = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
        assert (message["status"], message["experiment"], message["target"]) == ("missed", "nightly", "local")
        (tmp_path / "told.json").unlink()
        daemon.look()
        time.sleep(0.3)
    assert not (tmp_path / "told.json").exists()


def test_a_schedule_that_is_to_tell_of_hanging_runs_needs_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    words = ["schedule", "create", "digits", "--cron", "0 2 * * *", "--set", "notify={kind: webhook, when: hanging}"]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "notify.when: hanging: needs schedule.deadline_minutes" in done.stderr
    section = "schedule={cron: 0 2 * * *, deadline_minutes: 90}"
    assert CliRunner().invoke(app, [*words, "--set", section]).exit_code == 0
    Path("file.yaml").write_text(
        "name: nightly\nexperiment: digits\ncron: 0 2 * * *\ndeadline_minutes: 30\n"
        "set: {notify: {kind: webhook, when: [hanging, failure]}}\n",
        encoding="utf-8",
    )
    assert CliRunner().invoke(app, ["schedule", "apply", "file.yaml"]).exit_code == 0
    with Store(tmp_path / "elboflow-workspace") as store:
        assert store.schedules()[1].experiment["schedule"]["deadline_minutes"] == 30


COMMON = "image: 'i/x:1', tracking_uri: 'http://m'"
PLATFORMS = {
    "kubeflow": f"{{{COMMON}, host: 'http://k'}}",
    "vertex": f"{{{COMMON}, project: project, location: europe-west4, root: 'gs://bucket/r'}}",
}


@pytest.mark.parametrize("target", ["kubeflow", "vertex"])
def test_what_a_platform_cannot_tell_is_refused_by_name(target: str):
    given = [f"targets.{target}={PLATFORMS[target]}", "notify={kind: webhook, when: [failure, missed, hanging]}"]
    with pytest.raises(RequestError, match=f"notify.when: missed, hanging: {target} does not tell it"):
        specification(load("digits", given), target)


@pytest.mark.parametrize("target", ["kubeflow", "vertex"])
def test_a_deadline_is_refused_where_the_platform_looks_for_no_runs_that_hang(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    given = [
        "--set",
        f"targets.{target}={PLATFORMS[target]}",
        "--set",
        "schedule={cron: 0 2 * * *, deadline_minutes: 9}",
    ]
    by_hand = CliRunner().invoke(app, ["schedule", "create", "digits", "--target", target, *given])
    Path("file.yaml").write_text(
        f"name: nightly\nexperiment: digits\ncron: 0 2 * * *\ntarget: {target}\ndeadline_minutes: 9\n"
        f"set: {{targets.{target}: {PLATFORMS[target]}}}\n",
        encoding="utf-8",
    )
    for refused in (by_hand, CliRunner().invoke(app, ["schedule", "apply", "file.yaml", "--diff"])):
        assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1), refused.stderr
        assert f"schedule.deadline_minutes: 9: {target} does not look for runs that hang" in refused.stderr


@pytest.mark.parametrize(
    ("when", "told"),
    [
        (
            "sometimes",
            "notify.when: unknown value 'sometimes'; allowed: failure, end, recovered, promoted, missed, late",
        ),
        ("[failure, mised]", "notify.when: unknown value 'mised'; did you mean 'missed'?"),
        ("[]", "notify.when: [] is not allowed"),
    ],
)
def test_a_word_that_is_none_is_refused_with_the_words_there_are(when: str, told: str):
    with pytest.raises(RequestError) as refused:
        load("digits", [f"notify={{kind: webhook, when: {when}}}"])
    assert told in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
