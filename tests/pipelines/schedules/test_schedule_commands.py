"""`elboflow schedule …` on this machine: every word, what is refused, and a real run by the scheduler."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from elboflow.settings import WorkError
from pipelines.cli import app
from pipelines.schedules.daemon import Daemon
from pipelines.schedules.launch import Processes
from pipelines.schedules.states import Key, Range, Tick, TickState
from pipelines.schedules.store import Store
from pipelines.targets import ScheduleState
from pipelines.timing import Timing


class Person:
    """Somebody who works in a folder, with a workspace in it."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"

    def does(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["schedule", *arguments, "--workspace", str(self.workspace)])

    def gets(self, *arguments: str) -> Any:
        done = self.does(*arguments, "--json")
        assert done.exit_code == 0, done.stderr
        assert len(done.stdout.splitlines()) == 1
        return json.loads(done.stdout)


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    monkeypatch.chdir(tmp_path)
    return Person(tmp_path)


NIGHTLY = ("--cron", "0 2 * * *", "--timezone", "Europe/Berlin")


def test_a_schedule_from_its_creation_to_its_deletion(person: Person):
    made = person.gets("create", "digits", *NIGHTLY, "--if-changed", "--max-active", "2", "--catch-up", "last")
    assert made["schedule"] == "digits-1"
    assert {key: made[key] for key in ("cron", "timezone", "max_active", "catch_up", "if_changed", "status")} == {
        "cron": "0 2 * * *", "timezone": "Europe/Berlin", "max_active": 2, "catch_up": "last", "if_changed": True,
        "status": "active",
    }  # fmt: skip
    assert datetime.fromisoformat(made["next"]).utcoffset() == timedelta(0)
    assert person.gets("show", "digits-1") == made
    assert person.gets("list") == {"schedules": [made]}
    assert person.gets("pause", "digits-1")["status"] == "paused"
    assert person.gets("show", "digits-1")["next"] is None
    assert person.gets("resume", "digits-1") == made
    assert person.gets("history", "digits-1") == {"history": []}
    assert person.does("create", "digits", *NIGHTLY).stdout == "digits-2\n"
    assert person.gets("delete", "digits-2") == {"schedule": "digits-2", "target": "local", "status": "deleted"}
    assert [schedule["schedule"] for schedule in person.gets("list")["schedules"]] == ["digits-1"]
    assert person.does("create", "digits", *NIGHTLY).stdout == "digits-3\n"  # no id comes twice


def test_a_person_sees_the_same_in_words(person: Person):
    made = person.does("create", "digits", *NIGHTLY)
    assert made.stdout == "digits-1\n"
    assert "first run: " in made.stderr
    assert "02:00 CE" in made.stderr
    assert "no scheduler is at work on" in made.stderr
    assert "scheduler --workspace" in made.stderr
    table = person.does("list").stdout.splitlines()
    assert table[0].split() == [
        "schedule",
        "target",
        "experiment",
        "cron",
        "timezone",
        "status",
        "next",
        "files",
        "last",
    ]
    assert table[1].split()[:3] == ["digits-1", "local", "digits"]
    assert "Europe/Berlin" in table[1]
    assert "0 2 * * * (Europe/Berlin)" in person.does("show", "digits-1").stdout
    assert "nothing was due yet" in person.does("history", "digits-1").stderr


def test_cron_and_timezone_come_from_the_experiment_unless_they_are_given(person: Person):
    section = ("--set", "schedule={cron: '30 4 * * 1', timezone: Asia/Tokyo}")
    made = person.gets("create", "digits", *section)
    assert (made["cron"], made["timezone"]) == ("30 4 * * 1", "Asia/Tokyo")
    assert datetime.fromisoformat(made["next"]).strftime("%a %H:%M") == "Sun 19:30"
    made = person.gets("create", "digits", *section, "--cron", "0 5 * * *")
    assert (made["cron"], made["timezone"]) == ("0 5 * * *", "Asia/Tokyo")


def test_a_schedule_keeps_the_experiment_and_the_folder_of_its_making(person: Person):
    Path("mine.prod.yaml").write_text("seed: 7\n", encoding="utf-8")
    assert CliRunner().invoke(app, ["init", "mine", "--from", "digits"]).exit_code == 0
    person.gets("create", "mine.yaml", *NIGHTLY, "--env", "prod", "--set", "training.epochs=3")
    Path("mine.yaml").unlink()
    with Store(person.workspace) as store:
        (schedule,) = store.schedules()
    assert (schedule.name, schedule.folder) == ("mine", str(Path.cwd()))
    assert (schedule.experiment["seed"], schedule.experiment["training"]["epochs"]) == (7, 3)


def test_a_schedule_keeps_the_mlflow_that_it_was_made_with_and_says_which(
    person: Person, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ELBOFLOW_TRACKING_URI", "")  # set by the command: put back after the test
    own = "targets.local.tracking_uri=http://another:5000"
    made = person.gets("create", "digits", *NIGHTLY, "--set", own, "--tracking-uri", mlflow_server)
    assert made["tracking_uri"] == mlflow_server
    assert f"mlflow      {mlflow_server}" in person.does("show", "digits-1").stdout
    with Store(person.workspace) as store:
        (schedule,) = store.schedules()
    assert schedule.experiment["targets"]["local"]["tracking_uri"] == mlflow_server
    refused = person.does("run", "digits-1", "--tracking-uri", "http://another:5000")
    assert refused.exit_code == 2
    assert f"the schedule digits-1 keeps {mlflow_server}; for another MLflow, create it anew" in refused.stderr
    assert person.gets("history", "digits-1") == {"history": []}


@pytest.mark.parametrize("command", ["run", "scheduler"])
def test_what_launches_runs_hands_on_the_mlflow_that_it_was_told(
    command: str, person: Person, monkeypatch: pytest.MonkeyPatch
):
    person.gets("create", "digits", *NIGHTLY)
    monkeypatch.setenv("ELBOFLOW_TRACKING_URI", "http://another:5000")
    launched: list[str] = []

    def launch(*_: object) -> None:
        launched.append(os.environ["ELBOFLOW_TRACKING_URI"])
        raise WorkError("launched")

    monkeypatch.setattr(Processes, "start", launch)
    monkeypatch.setattr(Daemon, "run", launch)
    words = ["schedule", "run", "digits-1"] if command == "run" else ["scheduler"]
    uri = "http://me:S3CR3T@here:5000"
    told = CliRunner().invoke(app, [*words, "--workspace", str(person.workspace), "--tracking-uri", uri])
    assert (told.exit_code, launched) == (1, [uri])


def test_start_and_end_are_read_in_the_schedule_s_timezone(person: Person):
    made = person.gets("create", "digits", *NIGHTLY, "--start", "2190-12-01", "--end", "2190-12-24T12:00")
    assert (made["start"], made["end"]) == ("2190-11-30T23:00:00+00:00", "2190-12-24T11:00:00+00:00")
    assert made["next"] == "2190-12-01T01:00:00+00:00"


def test_without_catch_up_ticks_before_the_making_do_not_count_and_with_it_those_since_the_start_do(person: Person):
    nightly = ("--cron", "0 2 * * *", "--timezone", "UTC")  # three ticks in three days, also where clocks change
    started = ("--start", (datetime.now(UTC) - timedelta(days=3)).isoformat())
    for catch_up, ticks in (("none", 0), ("all", 3)):
        made = person.gets("create", "digits", *nightly, *started, "--catch-up", catch_up)
        person.gets("resume", made["schedule"])  # which looks what was due
        assert len(person.gets("history", made["schedule"])["history"]) == ticks


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["create", "digits"], "--cron: missing; give it, such as --cron '0 2 * * *', or the experiment a section"),
        (["create", "digits", "--cron", "0 25 * * *"], "cron '0 25 * * *': hour '25'; allowed: 0 to 23"),
        (["create", "digits", "--cron", "@daily"], "write '0 0 * * *'"),
        (["create", "digits", "--cron", "0 2 * * *", "--timezone", "Europe/Berln"], "did you mean 'Europe/Berlin'?"),
        (["create", "digits", "--set", "schedule={cron: '0 2 * * *', timezone: CETT}"], "timezone 'CETT'"),
        (["create", "digits", *NIGHTLY, "--start", "2190-02-01", "--end", "2190-01-01"], "is not after --start"),
        (["create", "digits", *NIGHTLY, "--end", "2020-01-01"], "has passed already"),
        (["create", "digits", *NIGHTLY, "--start", "soon"], "--start soon: expected a date or a time"),
        (["create", "digits", *NIGHTLY, "--target", "vertx"], "--target vertx: unknown target; allowed: local"),
        (["create", "digits", *NIGHTLY, "--target", "vertex"], "targets.vertex: missing"),
        (["create", "digits", *NIGHTLY, "--catch-up", "some"], "--catch-up some: expected one of none, last, all"),
        (
            ["create", "digits", *NIGHTLY, "--catch-up", "all", "--start", "2020-01-01"],
            "--catch-up all: there are more than 1,000 ticks since --start 2019-12-31T23:00+00:00, and each would run",
        ),
        (["create", "digits", *NIGHTLY, "--release", "v1"], "published versions run on kubeflow and vertex"),
        (["create", "digts", *NIGHTLY], "did you mean 'digits'?"),
        (
            ["create", "digits", *NIGHTLY, "--tracking-uri", "http://me:S@h"],
            "a schedule keeps http://… or https://… wi",
        ),
        (["create", "digits", *NIGHTLY, "--tracking-uri", "sqlite:////m.db"], "elboflow scheduler --tracking-uri URI"),
        (["create", "digits", *NIGHTLY, "--target", "vertex", "--tracking-uri", "http://h"], "is of runs on this mach"),
        (["create", "mnist", *NIGHTLY, "--set", "data.source.path=nowhere"], "nowhere"),
        (["show", "digits-1"], "there is no schedule 'digits-1'"),
        (["list", "--target", "kubeflow"], "has not been used with kubeflow yet"),
    ],
)
def test_a_wrong_request_is_exit_code_2_one_message_and_nothing_made(arguments: list[str], told: str, person: Person):
    done = person.does(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not (person.workspace / "schedules.db").exists()


@pytest.mark.parametrize("word", ["show", "pause", "resume", "run", "delete", "history"])
def test_a_schedule_that_does_not_exist_is_told_with_the_nearest(word: str, person: Person):
    person.gets("create", "digits", *NIGHTLY)
    done = person.does(word, "digts-1")
    assert done.exit_code == 2
    assert "there is no schedule 'digts-1'; did you mean 'digits-1'?" in done.stderr
    person.gets("delete", "digits-1")
    done = person.does(word, "digits-1")
    if word in ("show", "history"):
        assert done.exit_code == 0
        assert "deleted at " in done.stdout + done.stderr
    else:
        assert done.exit_code == 2
        assert "the schedule 'digits-1' was deleted at" in done.stderr


def test_what_became_of_a_deleted_schedule_s_ticks_stays_to_be_read(person: Person):
    night = datetime(2026, 11, 20, 1, tzinfo=UTC)
    person.gets("create", "digits", *NIGHTLY)
    with Store(person.workspace) as store:
        store.record([Tick(Key("digits-1", night), "tick", "missed", ended=night, reason="no scheduler was at work")])
    person.gets("delete", "digits-1")
    shown = person.gets("show", "digits-1")
    assert (shown["status"], shown["next"]) == ("deleted", None)
    assert shown["reason"].startswith("deleted at ")
    history = person.does("history", "digits-1")
    assert "2026-11-20 02:00 CET" in history.stdout
    assert "digits-1 was deleted at " in history.stderr
    assert person.gets("list") == {"schedules": []}


def test_a_schedule_whose_timezone_is_gone_is_a_line_with_its_reason_among_the_others(person: Person):
    person.gets("create", "digits", *NIGHTLY, "--start", "2026-01-01")
    person.gets("create", "digits", *NIGHTLY)
    with Store(person.workspace) as store:
        store.write("UPDATE schedules SET timezone = 'Europe/Gone' WHERE id = 'digits-1'")
    broken, well = person.gets("list")["schedules"]
    assert (broken["status"], broken["next"], well["status"]) == ("broken", None, "active")
    assert broken["reason"].startswith("timezone 'Europe/Gone': the tz database has no such zone")
    assert "timezone 'Europe/Gone'" in person.does("list").stdout
    assert "2025-12-31 23:00 UTC" in person.does("show", "digits-1").stdout


def test_a_second_schedule_that_does_the_same_is_made_and_told(person: Person):
    assert "does the same" not in person.does("create", "digits", *NIGHTLY).stderr
    assert "does the same" not in person.does("create", "digits", "--cron", "0 3 * * *").stderr
    assert "does the same" not in person.does("create", "digits", *NIGHTLY, "--set", "seed=1").stderr
    again = person.does("create", "digits", *NIGHTLY)
    assert again.stdout == "digits-4\n"
    assert "digits-1 does the same" in again.stderr


@pytest.mark.parametrize(("catch_up", "told"), [("none", ""), ("last", "at work: 1\n"), ("all", "at work: 5\n")])
def test_the_ticks_that_are_made_up_for_are_counted_at_the_making(catch_up: str, told: str, person: Person):
    start = (datetime.now(UTC) - timedelta(days=5)).isoformat()
    made = person.does("create", "digits", *NIGHTLY, "--catch-up", catch_up, "--start", start)
    assert ("made up for, beginning as soon as a scheduler is at work" in made.stderr) == (catch_up != "none")
    assert told in made.stderr


def test_list_show_and_history_say_the_times_of_the_schedule_s_timezone(person: Person):
    person.gets("create", "digits", "--cron", "0 2 * * *", "--timezone", "Asia/Tokyo")
    nights = [datetime(2026, 11, day, 17, tzinfo=UTC) for day in (20, 21, 22)]
    with Store(person.workspace) as store:
        store.record([Tick(Key("digits-1", nights[0]), "tick", "missed", reason="no scheduler was at work")])
        store.record_range(Range("digits-1", nights[1], nights[2], 2, "skipped", "it was paused", nights[2]))
    assert "02:00 JST" in person.does("list").stdout
    assert "02:00 JST" in person.does("show", "digits-1").stdout
    history = person.does("history", "digits-1").stdout
    assert "2026-11-21 02:00 JST" in history
    assert "2 ticks from 2026-11-22 02:00 JST to 2026-11-23 02:00 JST: it was paused" in history
    assert "UTC" not in history


def test_a_tick_that_did_not_run_shows_no_run(person: Person):
    person.gets("create", "digits", *NIGHTLY, "--if-changed")
    night = datetime(2026, 11, 20, 1, tzinfo=UTC)
    with Store(person.workspace) as store:
        # As a run that found nothing to do: it had a name, and made no folder.
        unchanged = Tick(
            Key("digits-1", night), "tick", "skipped", process=1, started=night, ended=night, run="digits-x"
        )
        missed = Tick(Key("digits-1", night + timedelta(days=1)), "tick", "missed", reason="no scheduler was at work")
        store.record([unchanged, missed])
    found = person.gets("history", "digits-1")["history"]
    assert [(tick["record"], tick["run"]) for tick in found] == [("missed", None), ("skipped", None)]
    shown = person.does("history", "digits-1").stdout
    assert "digits-" not in shown
    assert person.does("show", "digits-1").stdout.splitlines()[-1] == "last        skipped, no scheduler was at work"


def test_a_schedule_says_that_it_holds_a_copy_and_which_of_its_files_have_changed_since(
    person: Person, monkeypatch: pytest.MonkeyPatch
):
    assert CliRunner().invoke(app, ["init", "mine", "--from", "digits"]).exit_code == 0
    Path("mine.prod.yaml").write_text("seed: 7\n", encoding="utf-8")
    made = person.does("create", "mine.yaml", *NIGHTLY, "--env", "prod")
    copy = (
        "mine-1 holds a copy of the experiment as it is now: to take over a later change of mine.yaml or mine.prod.yaml"
    )
    assert copy in made.stderr
    assert {file["status"] for file in person.gets("show", "mine-1")["files"]} == {"unchanged"}
    assert "mine.yaml" not in person.does("list").stdout
    shown = person.does("show", "mine-1").stdout
    assert "experiment  mine (a copy of mine.prod.yaml and mine.yaml)" in shown
    Path("mine.yaml").write_text(Path("mine.yaml").read_text(encoding="utf-8") + "# later\n", encoding="utf-8")
    Path("mine.prod.yaml").unlink()
    monkeypatch.chdir("/")  # the files are those of the folder in which it was made
    for words in (["list"], ["show", "mine-1"]):
        assert "mine.prod.yaml absent, mine.yaml changed" in person.does(*words).stdout
    person.gets("create", "digits", *NIGHTLY)  # ready-made: there is no file that a person could change
    assert person.gets("show", "digits-1")["files"] == []


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    from rich.console import Console

    monkeypatch.setattr(Console, "is_terminal", True)
    monkeypatch.setenv("COLUMNS", "80")


KNOWN: dict[str, Any] = {"experiment": "digits", "target": "local"}
REASON = "train: the loss is not finite after 3 epochs; a smaller training.learning_rate may help " * 2


@pytest.mark.parametrize("run", ["digits-20261120-020001-4f2a9c", "a-model-of-molecules-2026-11-20-02-00-01-123456"])
def test_in_80_columns_no_column_of_the_history_is_broken_and_the_reason_folds(
    run: str, narrow: None, capsys: pytest.CaptureFixture[str]
):
    from pipelines.commands.timetable import print_history

    night = datetime(2026, 11, 20, 1, tzinfo=UTC)
    ticks = [
        TickState(
            id=run, status="failed", record="failed", reason=REASON, ended=night, created=night, tick=night, **KNOWN
        )
    ]
    print_history(ticks, "Europe/Berlin", False)
    _, row, *below = capsys.readouterr().out.splitlines()
    assert row.startswith("2026-11-20 02:00 CET")
    assert run in row
    assert max(map(len, (row, *below))) <= 80
    assert "seconds: 0" in below[0] or row.split()[-1] == "0"
    folded = " ".join(" ".join(below).removeprefix("    seconds: 0").split())
    assert folded == " ".join(REASON.split())


@pytest.mark.parametrize("id", ["digits-1", "0e1c5d4e-7f3a-4a52-9d53-0d2f1f6e8a11"])
def test_in_80_columns_no_column_of_the_list_is_broken(id: str, narrow: None, capsys: pytest.CaptureFixture[str]):
    from pipelines.commands.timetable import print_schedules

    night = datetime(2026, 11, 20, 1, tzinfo=UTC)
    timing = Timing("*/15 2-4 * * mon-fri", "America/Argentina/Buenos_Aires")
    print_schedules(
        [ScheduleState(id=id, timing=timing, status="active", next=night, reason=REASON, **KNOWN)], None, False
    )
    out = capsys.readouterr().out
    _, *lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    for value in (id, timing.cron, timing.timezone, "active", "2026-11-19 22:00 -03"):
        assert any(value in line for line in lines), value
    assert " ".join(REASON.split()) in " ".join(out.split())


def test_a_database_that_is_none_is_told_in_a_line(person: Person):
    person.workspace.mkdir()
    (person.workspace / "schedules.db").write_text(
        "precious, but no database, and long enough to be looked at" * 20, encoding="utf-8"
    )
    done = person.does("list")
    assert done.exit_code == 1
    assert (
        "schedules.db is damaged (file is not a database), and was left as it is; put a backup in its place"
        in done.stderr
    )


def test_a_run_by_hand_needs_no_scheduler_and_has_its_record(person: Person):
    data = {"kind": "npz", "path": "images.npz"}
    Path("absent.yaml").write_text(
        f"name: absent\ndata: {{source: {json.dumps(data)}, features: "
        "{image: {kind: image, shape: [8, 8, 1], range: [0, 16]}, label: category}}\n",
        encoding="utf-8",
    )
    Path("images.npz").touch()
    person.gets("create", "absent.yaml", *NIGHTLY)
    Path("images.npz").unlink()  # so that the run ends as soon as it has looked for its data
    started = person.does("run", "absent-1")
    assert started.exit_code == 0
    assert f"runs attach {started.stdout.strip()} --target local" in started.stderr
    deadline = time.monotonic() + 60
    while (run := person.gets("history", "absent-1")["history"][0])["status"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (run["run"], run["origin"], run["record"]) == (started.stdout.strip(), "hand", "failed")
    assert (run["exit_code"], run["reason"]) == (2, "data.source: there is no file images.npz")
    assert "there is no file images.npz" in Path(run["log"]).read_text(encoding="utf-8")
    assert "by hand; exit code 2; data.source: there is no file" in person.does("history", "absent-1").stdout


def test_one_table_shows_all_targets_and_one_that_cannot_be_asked_is_a_line_of_it(person: Person):
    person.gets("create", "digits", *NIGHTLY)
    memory = person.workspace / "targets.json"
    memory.write_text(json.dumps({"kubeflow": {"host": 7}, "vertex": {"damaged": True}}), encoding="utf-8")
    found = person.gets("list", "--all-targets")
    assert [schedule["schedule"] for schedule in found["schedules"]] == ["digits-1"]
    assert [target["target"] for target in found["unreachable"]] == ["kubeflow", "vertex"]
    assert "what it remembers of vertex is damaged" in found["unreachable"][1]["reason"]
    table = person.does("list", "--all-targets").stdout.splitlines()
    assert table[1].split()[:2] == ["digits-1", "local"]
    assert table[3].split()[:2] == ["vertex", "unreachable"]


def test_the_list_of_all_targets_imports_nothing_heavy_and_takes_less_than_two_seconds_of_work(person: Person):
    person.gets("create", "digits", *NIGHTLY)
    words = ["-m", "pipelines", "schedule", "list", "--all-targets", "--workspace", str(person.workspace)]

    def seconds() -> float:
        """Of work, not on the clock, which other processes make slower."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    for _ in range(5):  # a busy machine makes work slower, too
        before = seconds()
        done = subprocess.run([sys.executable, "-X", "importtime", *words], capture_output=True, encoding="utf-8")
        assert done.returncode == 0
        if (needed := seconds() - before) < 2:
            break
    assert needed < 2
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "sqlite3" in imported
    assert not imported & {"kfp", "google", "tensorflow", "keras", "mlflow", "apache_beam"}


SMALL = {
    "training.epochs": "1",
    "training.batch_size": "256",
    "model.latent": "2",
    "model.encoder": "{kind: mlp, hidden: [16]}",
    "model.decoder": "{kind: mlp, hidden: [16]}",
    "evaluation.bound_samples": "5",
    "evaluation.bootstrap_samples": "100",
    "registry.canary": "false",
    "registry.baseline": "false",
}


@pytest.mark.slow
@pytest.mark.xdist_group("schedules")
def test_a_scheduled_run_survives_its_scheduler_and_the_next_night_is_skipped_because_nothing_changed(person: Person):
    settings = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    made = person.gets("create", "digits", *NIGHTLY, "--if-changed", *settings)
    tick = datetime.fromisoformat(made["next"])

    def scheduler(clock: datetime) -> "subprocess.Popen[bytes]":
        code = "import time_machine; from datetime import datetime; from pipelines.cli import main\n"
        code += f"time_machine.travel(datetime.fromisoformat('{clock.isoformat()}')).start(); main()"
        command = [sys.executable, "-P", "-c", code, "scheduler", "--workspace", str(person.workspace)]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def latest(*states: str) -> Any:
        deadline = time.monotonic() + 300
        while not (history := person.gets("history", "digits-1")["history"]) or history[0]["record"] not in states:
            assert time.monotonic() < deadline, history
            time.sleep(0.2)
        return history[0]

    first = scheduler(tick - timedelta(seconds=2))
    run = latest("running")
    first.kill()
    first.wait()
    second = scheduler(tick + timedelta(minutes=1))
    run = latest("succeeded", "failed")
    assert (run["record"], run["exit_code"], run["origin"]) == ("succeeded", 0, "tick"), Path(run["log"]).read_text(
        encoding="utf-8"
    )
    assert datetime.fromisoformat(run["tick"]) == tick
    assert (person.workspace / "runs" / run["run"]).is_dir()
    assert "registered digits-vae version 1" in Path(run["log"]).read_text(encoding="utf-8")
    second.send_signal(signal.SIGTERM)
    assert second.wait(30) == 0

    third = scheduler(tick + timedelta(days=1, seconds=-2))
    skipped = latest("skipped")
    third.send_signal(signal.SIGTERM)
    assert third.wait(30) == 0
    assert datetime.fromisoformat(skipped["tick"]) - tick in (timedelta(hours=hours) for hours in (23, 24, 25))
    assert skipped["exit_code"] == 0
    assert run["run"] in skipped["reason"] or "same" in skipped["reason"] or "unchanged" in skipped["reason"]
    assert len(person.gets("history", "digits-1")["history"]) == 2
    assert len(list((person.workspace / "runs").iterdir())) == 1
