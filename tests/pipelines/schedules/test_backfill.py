"""`elboflow schedule backfill` on this machine. Only the process of a run is made up; the records are the real ones."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from elboflow.artifacts.lock import hold
from elboflow.settings import RequestError
from pipelines.cli import app
from pipelines.commands import schedule_backfill
from pipelines.schedules import local
from pipelines.schedules.backfill import wanted
from pipelines.schedules.launch import Processes
from pipelines.schedules.one_pass import one_pass
from pipelines.schedules.states import Key, Tick
from pipelines.schedules.store import Store
from pipelines.schedules.tick import claim, experiment_of
from pipelines.timing import Timing

TABLE = """
name: orders
data: {source: {kind: csv, path: "data/{date}.csv"}, features: {amount: number}}
model: {input: amount, latent: 2, likelihood: normal}
"""
WEEK = ("--from", "2026-11-01", "--to", "2026-11-07")
NIGHTS = [f"2026-11-0{day}T02:00" for day in range(1, 8)]


class Runs:
    """The processes of runs: each takes its tick, and ends when the scheduler has looked a few times.

    Attributes:
        began: The dates whose runs began, in their order.
        failing: The dates whose runs fail.
        most: The most runs at work at once.
        lasts: How often the scheduler looks until a run ends.
    """

    def __init__(self, workspace: Path) -> None:
        self.workspace, self.lasts, self.most = workspace, 1, 0
        self.began: list[str] = []
        self.failing: set[str] = set()
        self.at_work: dict[Key, int] = {}
        self.killed_at: str | None = None

    def start(self, key: Key) -> None:
        with Store(self.workspace) as store:
            schedule = store.schedule(key.schedule)
            assert schedule is not None
            assert claim(store, key, f"run-{len(self.began)}")
            date = experiment_of(schedule, key, store.dates(key.schedule).get(key))["date"]
        self.began.append(date)
        self.at_work[key] = self.lasts
        self.most = max(self.most, len(self.at_work))
        if date == self.killed_at:
            self.killed_at = None
            raise SystemExit(137)

    def is_running(self, key: Key) -> bool:
        if key not in self.at_work:
            return False
        self.at_work[key] -= 1
        if self.at_work[key] > 0:
            return True
        del self.at_work[key]
        with Store(self.workspace) as store:
            date = store.dates(key.schedule)[key]
            store.turn(key, "running", "failed" if date in self.failing else "succeeded", ended=datetime.now(UTC))
        return True


Do = Callable[..., Result]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(schedule_backfill.PAUSES, "local", 0.0)
    Path("orders.yaml").write_text(TABLE, encoding="utf-8")
    runs = Runs(tmp_path / "workspace")
    monkeypatch.setattr(Processes, "start", lambda _, key: runs.start(key))
    monkeypatch.setattr(Processes, "is_running", lambda _, key: runs.is_running(key))
    return runs


@pytest.fixture
def do(runs: Runs) -> Do:
    """Runs `elboflow schedule …` where there is a nightly schedule of dated data."""

    def do(*words: str) -> Result:
        return CliRunner().invoke(app, ["schedule", *words, "--workspace", "workspace"])

    made = do("create", "orders.yaml", "--cron", "0 2 * * *", "--timezone", "Europe/Berlin", "--name", "nightly")
    assert made.exit_code == 0, made.stderr
    return do


def test_each_date_runs_in_order_and_those_that_have_succeeded_are_not_run_again(do: Do, runs: Runs):
    runs.failing = {NIGHTS[3]}
    with Store(runs.workspace) as store:  # a night that the scheduler has run
        night = datetime(2026, 11, 2, 1, tzinfo=UTC)
        store.record([Tick(Key("nightly-1", night), "tick", "succeeded", started=night, ended=night, run="by-a-tick")])
    done = do("backfill", "nightly", *WEEK)
    assert done.exit_code == 1
    assert runs.began == [each for each in NIGHTS if each != NIGHTS[1]]
    assert "nightly: 6 dates to run; 1 have succeeded already" in done.stderr
    assert "error: 1 of 6 dates failed: 2026-11-04T02:00" in done.stderr
    assert runs.most == 1  # the schedule's max_active
    runs.failing.clear()
    again = do("backfill", "nightly", *WEEK, "--json")
    assert (again.exit_code, runs.began[6:]) == (0, [NIGHTS[3]])
    assert list(json.loads(again.stdout)["runs"]) == [NIGHTS[3]]
    assert do("backfill", "nightly", *WEEK).exit_code == 0
    assert len(runs.began) == 7
    assert do("backfill", "nightly", *WEEK, "--again").exit_code == 0
    assert runs.began[7:] == NIGHTS


def test_a_dry_run_lists_the_dates_and_runs_none(do: Do, runs: Runs):
    listed = do("backfill", "nightly", *WEEK, "--dry-run")
    assert listed.stdout.split() == NIGHTS
    assert "7 of 7 dates to run" in listed.stderr
    assert json.loads(do("backfill", "nightly", *WEEK, "--dry-run", "--json").stdout)["to_run"] == NIGHTS
    assert runs.began == []


def test_a_backfill_that_was_killed_goes_on_with_what_is_left_and_runs_no_date_twice(do: Do, runs: Runs):
    runs.lasts, runs.killed_at = 3, NIGHTS[2]
    assert do("backfill", "nightly", *WEEK).exit_code == 137
    assert do("backfill", "nightly", *WEEK).exit_code == 0
    assert runs.began == NIGHTS


def test_no_more_runs_are_at_work_than_machine_and_schedule_allow(do: Do, runs: Runs, monkeypatch: pytest.MonkeyPatch):
    made = do("create", "orders.yaml", "--cron", "0 2 * * *", "--name", "wide", "--max-active", "9")
    assert made.exit_code == 0
    runs.lasts = 4
    monkeypatch.setattr(local.capacity, "slots", lambda: 3)
    assert do("backfill", "wide", *WEEK).exit_code == 0
    assert (runs.most, runs.began) == (3, NIGHTS)


def test_a_clock_that_jumps_changes_no_date(do: Do, runs: Runs, monkeypatch: pytest.MonkeyPatch):
    jumps = iter([0, 40, -400, 3, -60, 900, 0, 0, 0, 0, 0, 0])
    ahead = timedelta()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # of a clock that jumps
            return datetime.now(tz) + ahead

    def start(_: Processes, key: Key) -> None:
        nonlocal ahead
        runs.start(key)
        ahead = timedelta(days=next(jumps, 0))
        with Store(runs.workspace) as store:
            one_pass(store, Processes(runs.workspace), runs.workspace, Clock.now(UTC), 0)

    monkeypatch.setattr(local, "datetime", Clock)
    monkeypatch.setattr(Processes, "start", start)
    assert do("backfill", "nightly", *WEEK).exit_code == 0
    assert runs.began == NIGHTS
    ahead = timedelta(days=-1000)
    assert do("backfill", "nightly", *WEEK).exit_code == 0
    assert runs.began == NIGHTS


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nightly", "--from", "soon", "--to", "2026-11-07"], "--from soon: expected a day, such as 2026-11-29"),
        (["nightly", "--from", "2026-11-08", "--to", "2026-11-07"], "--to 2026-11-07 is before --from 2026-11-08"),
        (["nightly", "--from", "2020-01-01", "--to", "2026-11-07"], "there are more than 1,000 ticks"),
        (["nightli", *WEEK], "there is no schedule 'nightli'; did you mean 'nightly'?"),
        (["plain", *WEEK], "the data of the schedule plain-1 have no {date}: each date would read the same"),
    ],
)
def test_a_wrong_backfill_is_one_sentence_and_runs_nothing(words: list[str], told: str, do: Do, runs: Runs):
    assert do("create", "digits", "--cron", "0 2 * * *", "--name", "plain").exit_code == 0
    done = do("backfill", *words)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert told in done.stderr
    assert runs.began == []


def test_a_second_backfill_at_once_is_refused(do: Do, runs: Runs):
    import os

    held = hold(runs.workspace / "backfill-nightly-1.lock")
    assert held is not None
    refused = do("backfill", "nightly", *WEEK)
    assert (refused.exit_code, runs.began) == (2, [])
    assert "another backfill of nightly-1 is at work" in refused.stderr
    os.close(held)


def test_the_dates_are_those_of_the_schedule_s_ticks_on_its_clocks_whenever_it_starts():
    timing: Any = Timing("0 0,12 * * 1", "America/New_York", start=datetime(2026, 12, 1, tzinfo=UTC))
    assert wanted(timing, date(2026, 11, 1), date(2026, 11, 10)) == [
        "2026-11-02", "2026-11-02T12:00", "2026-11-09", "2026-11-09T12:00"
    ]  # fmt: skip
    with pytest.raises(RequestError, match="has no tick in these days"):
        wanted(timing, date(2026, 11, 3), date(2026, 11, 8))
