"""Schedules without a cron: after another experiment's success, or when the data have changed."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from typer.testing import CliRunner, Result

from elboflow.testing.platforms.wire import wait_for
from pipelines.cli import app
from pipelines.experiment import load
from pipelines.schedules import plan, poll, polls
from pipelines.schedules.launch import Processes
from pipelines.schedules.one_pass import one_pass
from pipelines.schedules.store import Store
from pipelines.schedules.tick import experiment_of
from pipelines.schedules.triggers import refuse_circle
from pipelines.targets import Target
from pipelines.targets.local.process import ProcessIdentity
from pipelines.targets.local.record import Record
from pipelines.timing import Timing
from tests.pipelines.schedules.world import World, add, utc

NOON = utc(2026, 11, 29, 12)
TABLE = """
name: orders
data: {source: {kind: csv, path: "data/*.csv"}, features: {amount: number}}
model: {input: amount, latent: 2, likelihood: normal}
"""


def does(*words: str) -> Result:
    return CliRunner().invoke(app, ["schedule", *words, "--workspace", "workspace"])


def ended(workspace: Path, run: str, moment: datetime, date: str | None = None, **changes: Any) -> None:
    """Leaves what a run of `digits` leaves when it has ended."""
    record = Record(run, "digits", ProcessIdentity.current(), "succeeded", moment - timedelta(hours=1), ended=moment)
    (workspace / "runs" / run).mkdir(parents=True)
    replace(record, **changes).write(workspace / "runs")
    if date is not None:
        (workspace / "runs" / run / "experiment.json").write_text(json.dumps({"date": date}), encoding="utf-8")


def shown() -> dict[str, Any]:
    values: dict[str, Any] = json.loads(does("show", "nightly", "--json").stdout)
    return values


def ticks(workspace: Path, id: str = "nightly-1") -> list[tuple[datetime, str]]:
    with Store(workspace) as store:
        return [(tick.last, tick.state) for tick in reversed(store.history(id, 100, utc(2100, 1, 1)))]


@pytest.fixture
def after(tmp_path: Path) -> World:
    """A world with a schedule that runs after `digits`."""
    add(tmp_path, Timing("after digits"), NOON)
    world = World(tmp_path, 0, NOON, runs_for=timedelta(minutes=40))
    world.look()
    return world


def test_a_success_of_the_other_experiment_starts_one_run(after: World):
    ended(after.workspace, "digits-failed", NOON + timedelta(minutes=1), status="failed")
    ended(after.workspace, "digits-part", NOON + timedelta(minutes=1), planned=("preprocess", "train"))
    ended(after.workspace, "digits-before", NOON - timedelta(minutes=1))
    ended(after.workspace, "digits-other", NOON + timedelta(minutes=1), experiment="digits-other")
    after.now = NOON + timedelta(minutes=2)
    after.look()
    assert ticks(after.workspace) == []
    ended(after.workspace, "digits-x", NOON + timedelta(minutes=2))
    after.look()
    after.look()
    assert [moment for moment, _ in ticks(after.workspace)] == [NOON + timedelta(minutes=2)]
    after.until(NOON + timedelta(hours=1))
    after.look()
    assert ticks(after.workspace) == [(NOON + timedelta(minutes=2), "succeeded")]


def test_successes_while_a_run_is_at_work_make_one_more_run(after: World):
    for minutes in (1, 2, 3):
        ended(after.workspace, f"digits-{minutes}", NOON + timedelta(minutes=minutes))
        after.until(NOON + timedelta(minutes=minutes, seconds=10))
        after.look()
    after.until(NOON + timedelta(hours=1))
    for _ in range(3):
        after.look()
        after.until(after.now + timedelta(hours=1))
    assert ticks(after.workspace) == [(NOON + timedelta(minutes=m), "succeeded") for m in (1, 3)]


def test_a_damaged_record_of_a_run_stops_no_scheduler(after: World):
    (after.workspace / "runs/digits-damaged").mkdir(parents=True)
    (after.workspace / "runs/digits-damaged/run.json").write_text("{", encoding="utf-8")
    ended(after.workspace, "digits-x", NOON + timedelta(minutes=1))
    after.now = NOON + timedelta(minutes=2)
    after.look()
    assert [moment for moment, _ in ticks(after.workspace)] == [NOON + timedelta(minutes=1)]


def test_a_run_after_another_reads_the_data_of_the_same_date(tmp_path: Path):
    source = {"kind": "csv", "path": "{date}.csv"}
    add(tmp_path, Timing("after digits"), NOON, experiment={"name": "nightly", "data": {"source": source}})
    ended(tmp_path, "digits-x", NOON + timedelta(minutes=1), date="2026-11-27")
    World(tmp_path, 0, NOON + timedelta(minutes=2)).look()
    with Store(tmp_path) as store:
        ((key, date),) = store.dates("nightly-1").items()
        schedule = store.schedule("nightly-1")
        assert schedule is not None
        assert experiment_of(schedule, key, date)["date"] == "2026-11-27"


def test_a_paused_schedule_lets_successes_pass_and_says_so(after: World):
    with Store(after.workspace) as store:
        store.change("nightly-1", paused=NOON)
    ended(after.workspace, "digits-x", NOON + timedelta(minutes=1))
    after.now = NOON + timedelta(minutes=2)
    after.look()
    with Store(after.workspace) as store:
        store.change("nightly-1", paused=None)
    after.look()
    assert ticks(after.workspace) == [(NOON + timedelta(minutes=1), "skipped")]


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A schedule that runs when a folder of tables has changed, in a workspace."""
    monkeypatch.chdir(tmp_path)
    Path("orders.yaml").write_text(TABLE, encoding="utf-8")
    Path("file.yaml").write_text(
        "name: nightly\nexperiment: orders.yaml\ntrigger: {changed: every 15 min}\n", encoding="utf-8"
    )
    Path("data").mkdir()
    Path("data/a.csv").write_text("amount\n1\n2\n", encoding="utf-8")
    made = does("apply", "file.yaml")
    assert made.exit_code == 0, made.stderr
    with Store(Path("workspace")) as store:
        polls.begin(store, "nightly-1", NOON)
    return tmp_path / "workspace"


def looks(workspace: Path) -> int:
    poll.main(workspace, "nightly-1")
    return len(ticks(workspace))


def test_other_content_starts_a_run_and_the_first_look_and_other_times_of_files_do_not(orders: Path):
    assert looks(orders) == 0
    Path("data/a.csv").touch()
    assert looks(orders) == 0
    Path("data/b.csv").write_text("amount\n3\n", encoding="utf-8")
    assert looks(orders) == 1
    assert looks(orders) == 1
    Path("data/a.csv").write_text("amount\n7\n", encoding="utf-8")
    assert looks(orders) == 1  # the first run still waits
    with Store(orders) as store:
        for tick in store.open_ticks():
            store.turn(tick.key, "waiting", "succeeded")
    assert looks(orders) == 2  # and what came meanwhile is not lost


def test_data_that_are_not_there_start_no_run_until_they_come(orders: Path):
    assert looks(orders) == 0
    Path("data/a.csv").unlink()
    assert looks(orders) == 0
    Path("data/a.csv").write_text("amount\n9\n", encoding="utf-8")
    assert looks(orders) == 1


@pytest.mark.parametrize("gone", ["data", "data/a.csv"])
def test_data_that_were_away_for_a_look_and_came_back_unchanged_start_no_run(orders: Path, gone: str):
    assert looks(orders) == 0
    Path(gone).rename("away")
    assert looks(orders) == 0
    assert "its data could not be read: data.source: there is no file data/*.csv" in shown()["reason"]
    Path("away").rename(gone)
    assert (looks(orders), shown()["reason"]) == (0, None)
    Path("data/a.csv").write_text("amount\n9\n", encoding="utf-8")
    assert looks(orders) == 1


def test_a_source_that_cannot_be_looked_at_is_told_and_is_not_taken_for_absent_data(orders: Path):
    Path("orders.yaml").write_text(TABLE.replace("*", "{date}" + "a" * 300), encoding="utf-8")  # no file
    assert does("apply", "file.yaml").exit_code == 0
    assert looks(orders) == 0
    assert "aaa.csv cannot be looked for: File name too long" in shown()["reason"]
    with Store(orders) as store:
        assert polls.seen(store, "nightly-1") is None


def test_the_same_content_of_another_date_starts_a_run(orders: Path):
    Path("orders.yaml").write_text(TABLE.replace("data/*.csv", "data/{date}.csv"), encoding="utf-8")
    for day in ("2026-11-28", "2026-11-29"):
        Path(f"data/{day}.csv").write_text("amount\n1\n", encoding="utf-8")
    assert does("apply", "file.yaml").exit_code == 0
    for day, runs in (("2026-11-28", 0), ("2026-11-29", 1), ("2026-11-30", 1)):
        with time_machine.travel(f"{day}T12:00:00Z", tick=False):
            assert looks(orders) == runs
    assert "there are no data of the date 2026-11-30" in shown()["reason"]


def test_the_scheduler_looks_as_often_as_it_was_told_in_a_process_of_its_own(orders: Path):
    begun: list[datetime] = []
    processes = Processes(orders)
    real = processes.look_at_data

    class Counting(Processes):
        def look_at_data(self, schedule: Any) -> None:
            begun.append(now)
            real(schedule)

    with Store(orders) as store:
        for minutes in (14, 15, 16, 29, 31):
            now = NOON + timedelta(minutes=minutes)
            one_pass(store, Counting(orders), orders, now, 0)
            if len(begun) == 1:
                wait_for(lambda: polls.seen(store, "nightly-1") is not None)
    assert [(moment - NOON) // timedelta(minutes=1) for moment in begun] == [15, 31]


def test_damaged_rows_of_looks_and_dates_stop_no_scheduler(orders: Path):
    with Store(orders) as store:
        store.write("UPDATE polls SET polled = 'x'")
        store.write("INSERT INTO dates VALUES ('nightly-1', 'x', 'y')")
        store.change("nightly-1", settled=NOON)
        assert one_pass(store, Processes(orders), orders, NOON, 0) == {}
        assert polls.last_look(store, "nightly-1") == NOON
        assert store.dates("nightly-1") == {}


def test_a_trigger_stands_where_a_cron_would_in_lists(orders: Path):
    shown = json.loads(does("show", "nightly", "--json").stdout)
    assert (shown["cron"], shown["status"], shown["next"]) == ("changed every 15 min", "active", None)
    assert "1 schedule; 1 unchanged" in does("apply", "file.yaml").stderr
    assert does("pause", "nightly").exit_code == 0
    assert does("resume", "nightly").exit_code == 0
    refused = does("backfill", "nightly", "--from", "2026-11-01", "--to", "2026-11-02")
    assert (refused.exit_code, "is no cron" in refused.stderr) == (2, True)


def test_circles_are_refused_and_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        Path(f"{name}.yaml").write_text(TABLE.replace("orders", name), encoding="utf-8")
    Path("data").mkdir()
    Path("data/x.csv").write_text("amount\n1\n", encoding="utf-8")
    text = "schedules:\n" + "".join(
        f"  - {{name: {name}, experiment: {name}.yaml, trigger: {{after: {before}}}}}\n"
        for name, before in ("ab", "bc", "ca")
    )
    Path("file.yml").write_text(text, encoding="utf-8")
    refused = does("apply", "file.yml")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert "trigger.after: a runs after b runs after c runs after a: they would wait for each other" in refused.stderr
    assert json.loads(does("list", "--json").stdout)["schedules"] == []
    for name, before in ("ab", "bc"):
        assert does("create", f"{name}.yaml", "--set", f"schedule={{trigger: {{after: {before}}}}}").exit_code == 0
    refused = does("create", "c.yaml", "--set", "schedule={trigger: {after: a}}")
    assert (refused.exit_code, "a runs after b runs after c runs after a" in refused.stderr) == (2, True)
    assert does("create", "a.yaml", "--set", "schedule={trigger: {after: a}}").exit_code == 2


def chain(text: str) -> str:
    """Returns a file of schedules: `ab bc c` is a after b, b after c, and c by a cron."""
    when = {each: f"trigger: {{after: {each[1:]}}}" if each[1:] else "cron: 0 2 * * *" for each in text.split()}
    return "schedules:\n" + "".join(
        f"  - {{name: s{each[0]}, experiment: {each[0]}.yaml, {when[each]}}}\n" for each in when
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a ba", "ab b"),
        ("ab bc c", "ac ba c"),  # a may not come after c before b comes no more after c
        ("ab bc c", "a ba cb"),
        ("a ba", "ab"),  # the schedule of b goes
        ("ab b", "ba"),
    ],
)
def test_an_order_of_experiments_may_be_turned_round_in_files(
    before: str, after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        Path(f"{name}.yaml").write_text(TABLE.replace("orders", name), encoding="utf-8")
    Path("data").mkdir()
    Path("data/x.csv").write_text("amount\n1\n", encoding="utf-8")

    def perform_and_look(change: plan.Change, target: Target, group: str, real: Any = plan.perform) -> Any:
        made = real(change, target, group)
        refuse_circle((each.experiment, each.timing.cron) for each in target.schedules())  # not for a moment
        return made

    monkeypatch.setattr(plan, "perform", perform_and_look)
    for text in (before, after):
        Path("file.yaml").write_text(chain(text), encoding="utf-8")
        done = does("apply", "file.yaml", "--prune")
        assert done.exit_code == 0, done.stderr
    found = json.loads(does("list", "--json").stdout)["schedules"]
    wanted = {f"s{each[0]}": f"after {each[1:]}" if each[1:] else "0 2 * * *" for each in after.split()}
    assert {each["name"]: each["cron"] for each in found} == wanted


KUBEFLOW = "targets.kubeflow={image: 'i/x:1', tracking_uri: 'http://m', host: 'http://k'}"


@pytest.mark.parametrize(
    ("section", "words", "told"),
    [
        ("{trigger: {after: a, changed: every 15 min}}", [], "schedule.trigger: expected one of `after` and `changed`"),
        ("{trigger: {after: a}, cron: 0 2 * * *}", [], "schedule.trigger: there is a cron, 0 2 * * *; give one of the"),
        ("{timezone: UTC}", [], "schedule.cron: missing; it must be given, or a trigger"),
        (
            "{trigger: {changed: often}}",
            [],
            "schedule.trigger.changed: 'often' is not allowed; must be such as every 15",
        ),
        ("{trigger: {changed: every 2 h}}", [], "trigger.changed: the source sklearn has no files that could change"),
        ("{trigger: {after: a}}", ["--catch-up", "all"], "are of a cron, and mean nothing for a trigger"),
        (
            "{trigger: {after: a}}",
            ["--target", "kubeflow", "--set", KUBEFLOW],
            "schedule.trigger: 'after a': kubeflow runs schedules by a cron alone",
        ),
    ],
)
def test_what_a_trigger_cannot_be_is_refused(
    section: str, words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    refused = does("create", "digits", "--set", f"schedule={section}", *words)
    assert refused.exit_code == 2
    assert told in refused.stderr
    assert not Path("workspace/schedules.db").exists()


def test_a_cron_of_a_section_means_what_it_did():
    assert load("digits", ["schedule=0 2 * * *"]).model_dump(mode="json")["schedule"] == {
        "cron": "0 2 * * *", "timezone": "UTC"
    }  # fmt: skip
