"""Logical dates: `--date`, and `{date}` in the locations of the data."""

import json
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import time_machine
from typer.testing import CliRunner

from components.tracking.parameters import config_digest
from elboflow.settings import RequestError
from elboflow.testing.platforms.wire import wait_for
from pipelines.cli import app
from pipelines.experiment import load
from pipelines.schedules.states import Key, Schedule
from pipelines.schedules.tick import experiment_of
from pipelines.targets.submission import job
from pipelines.timing import Timing
from preprocessing.pipeline import dataset_digest

TABLE = """
name: nights
data:
  source: {kind: csv, path: "data/{date:%Y/%m/%d}/*.csv"}
  features: {amount: number, kind: category}
model: {input: [amount, kind], latent: 2, likelihood: product}
schedule: {cron: 0 2 * * *, timezone: Asia/Tokyo}
"""


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An experiment on data of two nights."""
    monkeypatch.chdir(tmp_path)
    for day, factor in (("28", 1), ("29", 2)):
        folder = Path("data/2026/11", day)
        folder.mkdir(parents=True)
        rows = "".join(f"{factor * number},{'ab'[number % 2]}\n" for number in range(200))
        (folder / "x.csv").write_text(f"amount,kind\n{rows}", encoding="utf-8")
    Path("nights.yaml").write_text(TABLE, encoding="utf-8")
    return "nights.yaml"


def of(experiment: str, date: str | None = None) -> str:
    given = [] if date is None else [f"date='{date}'"]
    return dataset_digest(load(experiment, given).data_of_date)


def test_the_digest_of_a_dataset_follows_the_data_of_the_date_and_the_recorded_settings_do_not(nights: str):
    assert of(nights, "2026-11-28") != of(nights, "2026-11-29")
    first, second = (load(nights, [f"date='2026-11-{day}'"]) for day in (28, 29))
    assert first.recorded() == second.recorded()
    for part in ("28", "29"):
        (Path("data/2026/11", part) / "x.csv").write_text("amount,kind\n1,a\n", encoding="utf-8")
    assert of(nights, "2026-11-28") == of(nights, "2026-11-29")


def test_a_date_without_data_is_one_sentence_that_names_date_and_path(nights: str):
    words = ["--workspace", "workspace", "--date", "2026-11-30"]
    done = CliRunner().invoke(app, ["run", nights, *words])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "there are no data of the date 2026-11-30: " in done.stderr
    assert "data/2026/11/30/*.csv" in done.stderr
    assert not Path("workspace/runs").exists()
    done = CliRunner().invoke(app, ["step", "preprocess", nights, "--output", "out", "--date", "2026-11-30"])
    assert (done.exit_code, "no data of the date 2026-11-30" in done.stderr) == (2, True)


def test_without_a_date_a_run_by_hand_has_today_on_the_schedule_s_clocks(nights: str):
    experiment = load(nights)
    late = datetime(2026, 11, 28, 20, tzinfo=UTC)
    assert experiment.dated(late).date == "2026-11-29"  # in Tokyo
    assert experiment.dated(late).data_of_date.source.locations == {"path": "data/2026/11/29/*.csv"}
    by_the_hour = load(nights, ["data.source.path=data/{date:%Y%m%d%H}.csv"])
    assert by_the_hour.dated(late).date == "2026-11-29T05:00"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nights.yaml", "--date", "soon"], "--date soon: expected a date, such as 2026-11-29"),
        (["digits", "--date", "2026-11-29"], "--date 2026-11-29: data.source has no {date}"),
        (["nights.yaml", "--set", "data.source.path=x/{date:%Q}"], "data.source.path: {date:%Q}: %Q is no format"),
        (["nights.yaml", "--set", "data.source.path=x/{date"], "data.source.path: x/{date: the field {date is malf"),
        (["nights.yaml", "--set", "tags={night: 'of {date:%Q}'}"], "tags.night: {date:%Q}: %Q is no format"),
        (["nights.yaml", "--set", "tags={hour: 'at {date:%H}'}"], "tags.hour: 'at {date:%H}' has a time of the day"),
        (["digits", "--set", "tags={night: '{date}'}"], "tags.night: '{date}' has a date, and data.source has no"),
        (["digits", "--set", "tags={elboflow.run: x}"], "tags.elboflow.run: names that begin with elboflow. or mlf"),
        (["digits", "--set", "tags={'a:b': x}"], "tags.a:b: "),
        (["nights.yaml", "--set", "date=soon"], "date: date soon: expected a date"),
    ],
)
def test_a_malformed_date_or_field_is_refused_before_anything_runs(words: list[str], told: str, nights: str):
    done = CliRunner().invoke(app, ["run", *words, "--workspace", "workspace"])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert told in done.stderr
    assert not Path("workspace").exists()


def test_a_tick_reads_the_day_that_it_was_meant_for_in_the_schedule_s_timezone(nights: str):
    then = datetime(2026, 11, 28, 17, tzinfo=UTC)  # 02:00 of the 29th in Tokyo
    timing, values = Timing("0 2 * * *", "Asia/Tokyo"), load(nights).model_dump(mode="json")
    schedule = Schedule("nights-1", "nights", values, ".", timing, False, then, then)
    assert experiment_of(schedule, Key("nights-1", then))["date"] == "2026-11-29T02:00"
    plain = load("digits").model_dump(mode="json")
    column = ["data.source.path=x.csv", "data.source.columns={amount: 'of {date}'}"]  # a column's name, and no place
    undated = load(nights, column).model_dump(mode="json")
    for each in (plain, undated):
        assert experiment_of(Schedule("d", "d", each, ".", timing, False, then, then), Key("d", then)) == each


def test_a_schedule_is_made_before_its_data_are_there_and_takes_no_fixed_date(nights: str):
    words = ["schedule", "create", nights, "--workspace", "workspace"]
    assert CliRunner().invoke(app, words).exit_code == 0
    refused = CliRunner().invoke(app, [*words, "--set", "date='2026-11-29'"])
    assert (refused.exit_code, "date: a schedule gives each run its own" in refused.stderr) == (2, True)


def test_a_backfill_of_a_date_without_data_fails_with_date_and_path_and_leaves_no_run(nights: str):
    words = ["--workspace", "workspace"]
    assert CliRunner().invoke(app, ["schedule", "create", nights, "--name", "nightly", *words]).exit_code == 0
    days = ["--from", "2026-11-30", "--to", "2026-11-30"]
    done = CliRunner().invoke(app, ["schedule", "backfill", "nightly", *days, *words])
    assert done.exit_code == 1
    assert "2026-11-30T02:00: failed: there are no data of the date 2026-11-30: data.source: there is no" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: 1 of 1 dates failed: 2026-11-30T02:00"
    assert not Path("workspace/datasets").exists()
    assert list(Path("workspace").glob("runs/*/run.json")) == []


def test_a_run_reads_the_data_of_its_date_and_its_mlflow_run_says_which(nights: str):
    words = ["run", nights, "--workspace", "workspace", "--date", "2026-11-28", "--until", "preprocess", "--json"]
    words += ["--set", "tags={team: faces, month: '{date:%Y-%m}'}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    run = json.loads(done.stdout)
    assert Path(run["dataset"]).name == of(nights, "2026-11-28")
    written = Path("workspace/runs", run["run"], "experiment.json").read_text(encoding="utf-8")
    assert json.loads(written)["date"] == "2026-11-28"  # for a repetition on another day

    def tags() -> dict[str, str]:
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect("workspace/mlflow.db")) as database:
            return dict(database.execute("SELECT key, value FROM tags"))
        return {}  # its tables are being made

    wait_for(lambda: bool(tags()), 60)
    found = tags()
    assert (found["elboflow.date"], found["month"], found["team"]) == ("2026-11-28", "2026-11", "faces")


def test_tags_change_nothing_that_results_depend_on(nights: str):
    tagged = load(nights, ["tags={team: faces, month: '{date:%Y-%m}'}"])
    assert config_digest(tagged.recorded()) == config_digest(load(nights).recorded())
    assert "tags" not in load(nights).recorded()


@pytest.mark.slow
def test_a_sweep_keeps_the_date_that_it_began_with_when_it_goes_on_after_midnight(nights: str):
    Path("data/2026/11/28/x.csv").write_text("amount,kind\nmany,a\n", encoding="utf-8")  # its first step fails
    words = ["sweep", nights, "--over", "model.latent=1,2", "--workspace", "workspace", "--json"]
    found = []
    for moment in ("2026-11-28T13:00:00Z", "2026-11-28T16:00:00Z"):  # 22:00, and 01:00 of the 29th in Tokyo
        with time_machine.travel(moment):
            done = CliRunner().invoke(app, words)
        assert done.exit_code == 1, done.stderr
        run = json.loads(done.stdout)["run"]
        written = Path("workspace/runs", run, "experiment.json").read_text(encoding="utf-8")
        found.append((run, json.loads(written)["date"]))
    assert found[0] == found[1]
    assert found[0][1] == "2026-11-28"


def test_a_sweep_for_another_date_is_another_sweep_and_one_of_data_without_a_date_is_refused(nights: str):
    words = ["sweep", nights, "--over", "model.latent=1,2", "--workspace", "workspace"]
    done = CliRunner().invoke(app, [*words, "--date", "2026-11-30"])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "there are no data of the date 2026-11-30: " in done.stderr
    refused = CliRunner().invoke(app, ["sweep", "digits", *words[2:], "--date", "2026-11-30"])
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert "--date 2026-11-30: data.source has no {date}" in refused.stderr
    assert not Path("workspace").exists()


def test_a_compiled_pipeline_has_a_date_only_where_its_data_have_one(nights: str):
    target = "targets.kubeflow={image: 'i/x:1', tracking_uri: 'http://m', host: 'http://k'}"
    table = ["data.source.path=gs://bucket/{date}.csv", target]
    dated = job(load(nights, table), "kubeflow")
    assert "resolve-date" in (dated.specification or "")
    assert dated.arguments == {}
    assert job(load(nights, [*table, "date='2026-11-28'"]), "kubeflow").arguments == {"date": "2026-11-28"}
    assert "resolve-date" not in (job(load("digits", [target]), "kubeflow").specification or "")
    with pytest.raises(RequestError, match=r"has no \{date\}"):
        load("digits", ["date='2026-11-28'"]).dated()
