"""`elboflow schedule apply` on this machine: schedules as files."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine
from typer.testing import CliRunner, Result

from elboflow.settings import WorkError
from pipelines.cli import app
from pipelines.schedules.local import LocalTarget
from pipelines.schedules.record_due import record_due
from pipelines.schedules.store import Store

NIGHTLY = """
name: nightly
experiment: ../mine.yaml
set: {training.epochs: 3}
cron: 0 2 * * *
timezone: Europe/Berlin
"""
WEEKLY = "name: weekly\nexperiment: digits\ncron: 0 2 * * 1\n"
Do = Callable[..., Result]


@pytest.fixture
def do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Do:
    """Runs `elboflow schedule …` in a folder with an experiment and two files of schedules."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["init", "mine", "--from", "digits"]).exit_code == 0
    Path("schedules").mkdir()
    Path("schedules/a.yaml").write_text(NIGHTLY, encoding="utf-8")
    Path("schedules/b.yml").write_text(f"schedules:\n  - {{{', '.join(WEEKLY.split(chr(10)))}}}\n", encoding="utf-8")
    return lambda *words: CliRunner().invoke(app, ["schedule", *words, "--workspace", "workspace"])


def applied(do: Do, *words: str) -> dict[str, dict[str, Any]]:
    done = do("apply", "schedules", *words, "--json")
    assert done.exit_code == 0, done.stderr
    return {change["name"]: change for change in json.loads(done.stdout)["schedules"]}


def actions(do: Do, *words: str) -> dict[str, str]:
    return {name: change["action"] for name, change in applied(do, *words).items()}


def edit(before: str, after: str, file: str = "schedules/a.yaml") -> None:
    text = Path(file).read_text(encoding="utf-8")
    assert before in text
    Path(file).write_text(text.replace(before, after), encoding="utf-8")


def test_schedules_of_files_are_made_once_and_a_second_apply_changes_nothing_and_says_so(do: Do):
    assert actions(do) == {"nightly": "create", "weekly": "create"}
    listed = do("list", "--json").stdout
    again = do("apply", "schedules")
    assert again.exit_code == 0
    assert "2 schedules; 2 unchanged" in again.stderr
    assert do("list", "--json").stdout == listed
    nightly = json.loads(do("show", "nightly", "--json").stdout)
    assert (nightly["schedule"], nightly["name"], nightly["group"]) == ("nightly-1", "nightly", "default")
    assert (nightly["cron"], nightly["timezone"]) == ("0 2 * * *", "Europe/Berlin")
    with Store(Path("workspace")) as store:
        assert store.schedules()[0].experiment["training"]["epochs"] == 3


def test_a_changed_file_changes_its_schedule_in_place_by_key_and_it_stays_paused(do: Do):
    applied(do)
    assert do("pause", "nightly").exit_code == 0
    edit("0 2 * * *", "0 3 * * *")
    edit("epochs: 3", "epochs: 4")
    shown = applied(do, "--diff")["nightly"]
    assert (shown["action"], shown["done"], shown["schedule"]) == ("change", False, "nightly-1")
    assert shown["differences"] == {"cron": ["0 2 * * *", "0 3 * * *"], "training.epochs": [3, 4]}
    assert json.loads(do("show", "nightly", "--json").stdout)["cron"] == "0 2 * * *"
    told = do("apply", "schedules")
    assert "~ nightly  local  0 3 * * * (Europe/Berlin)\n    cron: 0 2 * * * → 0 3 * * *\n" in told.stdout
    assert "2 schedules; 1 changed, 1 unchanged" in told.stderr
    nightly = json.loads(do("show", "nightly", "--json").stdout)
    assert (nightly["schedule"], nightly["cron"], nightly["status"]) == ("nightly-1", "0 3 * * *", "paused")
    edit("cron:", "paused: false\ncron:")
    assert applied(do)["nightly"]["differences"] == {"paused": [True, False]}
    assert json.loads(do("show", "nightly", "--json").stdout)["status"] == "active"


def test_a_schedule_that_its_file_pauses_never_ticks_from_its_making_on(do: Do):
    times = "timezone: UTC\ncatch_up: all\nstart: '2026-11-01'\n"
    Path("schedules/b.yml").write_text(f"{WEEKLY}{times}paused: true\n", encoding="utf-8")
    with time_machine.travel("2026-11-25T12:00:00Z", tick=False):
        assert applied(do)["weekly"]["action"] == "create"
        assert applied(do)["weekly"]["action"] == "keep"
    with Store(Path("workspace")) as store:
        assert record_due(store, "digits-1", datetime(2026, 12, 2, 12, tzinfo=UTC))
        assert store.open_ticks("digits-1") == []
    edit("paused: true", "paused: false", "schedules/b.yml")
    assert applied(do)["weekly"]["differences"] == {"paused": [True, False]}
    edit("0 2 * * 1", "0 * * * *", "schedules/b.yml")
    edit("paused: false", "paused: true", "schedules/b.yml")
    assert set(applied(do)["weekly"]["differences"]) == {"cron", "paused"}
    assert json.loads(do("show", "weekly", "--json").stdout)["status"] == "paused"


def test_an_edited_experiment_is_taken_over(do: Do):
    applied(do)
    edit("seed: 0", "seed: 1", "mine.yaml")
    assert applied(do)["nightly"]["differences"] == {"mine.yaml": ["as it was", "changed"], "seed": [0, 1]}
    assert actions(do) == {"nightly": "keep", "weekly": "keep"}


def test_prune_takes_what_an_apply_of_the_same_group_made_and_nothing_made_by_hand(do: Do):
    applied(do)
    Path("other.yaml").write_text(WEEKLY.replace("weekly", "of-others"), encoding="utf-8")
    assert do("apply", "other.yaml", "--group", "others").exit_code == 0
    assert do("create", "digits", "--cron", "0 5 * * *", "--name", "by-hand").exit_code == 0
    assert do("create", "digits", "--cron", "0 6 * * *").exit_code == 0
    Path("schedules/b.yml").unlink()
    assert actions(do) == {"nightly": "keep"}
    assert actions(do, "--prune", "--diff") == {"nightly": "keep", "weekly": "delete"}
    assert "- weekly  local" in do("apply", "schedules", "--prune").stdout
    assert [each["schedule"] for each in json.loads(do("list", "--json").stdout)["schedules"]] == [
        "nightly-1", "of-others-1", "by-hand-1", "digits-4"
    ]  # fmt: skip
    Path("schedules/a.yaml").write_text("schedules: []\n", encoding="utf-8")
    assert actions(do, "--prune") == {"nightly": "delete"}


def test_a_name_that_is_taken_is_refused_by_create_and_by_apply(do: Do):
    applied(do)
    again = do("create", "digits", "--cron", "0 2 * * *", "--name", "nightly")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "--name nightly: the schedule nightly-1 has this name" in again.stderr
    assert do("create", "digits", "--cron", "0 2 * * *", "--name", "by-hand").exit_code == 0
    edit("name: nightly", "name: by-hand")
    refused = do("apply", "schedules")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert "schedules/a.yaml:2: name: the schedule by-hand of local was made by hand; delete it there" in refused.stderr
    refused = do("apply", "schedules/b.yml", "--group", "others")
    assert (refused.exit_code, "is of the group default" in refused.stderr) == (2, True)
    assert do("delete", "nightly").exit_code == 0
    assert do("create", "digits", "--cron", "0 2 * * *", "--name", "nightly").stdout == "nightly-2\n"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("name: nightly", "name: weekly", "schedules/b.yml:2: name: 'weekly' is the name of the schedule in sched"),
        ("cron: 0 2 * * *", "corn: 0 2 * * *", "schedules/a.yaml:5: corn: unknown key; did you mean 'cron'?"),
        ("cron: 0 2 * * *", "max_active: 0", "schedules/a.yaml:5: max_active: 0 is not allowed; must be"),
        ("cron: 0 2 * * *", "cron: 0 25 * * *", "nightly: cron '0 25 * * *': hour '25'; allowed: 0 to 23"),
        ("cron: 0 2 * * *", "end: '2020-01-01'", "nightly: cron: missing"),
        ("Europe/Berlin", "Europe/Berln", "schedules/a.yaml:6: timezone: timezone 'Europe/Berln'"),
        ("../mine.yaml", "../yours.yaml", "schedules/a.yaml:2: nightly: yours.yaml: no such file"),
        ("training.epochs", "training.epoch", "nightly: --set training.epoch=3"),
        ("name: nightly", "target: mars", "target: unknown value 'mars'; allowed: local, kubeflow, vertex"),
        ("cron: 0 2 * * *", "target: vertex", "nightly: cron: missing"),
        ("timezone:", "release: v1\ntimezone:", "published versions run on kubeflow and vertex"),
        ("timezone:", "target: vertex\ntimezone:", "targets.vertex: missing"),
        ("name: nightly", "- name", "schedules/a.yaml"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_told_with_its_line_and_nothing_is_made(before: str, after: str, told: str, do: Do):
    edit(before, after)
    done = do("apply", "schedules")
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("workspace/schedules.db").exists()


def test_two_schedules_of_one_name_in_one_file_are_told_with_both_lines_and_none_is_made(do: Do):
    twice = "".join(f"  - {{name: twice, experiment: digits, cron: 0 {hour} * * *}}\n" for hour in (2, 3))
    Path("twice.yaml").write_text(f"schedules:\n{twice}", encoding="utf-8")
    done = do("apply", "twice.yaml")
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "twice.yaml:3: name: 'twice' is the name of the schedule in twice.yaml:2" in done.stderr
    edit("cron: 0 3", "target: vertex, cron: 0 3", "twice.yaml")  # names are of a target
    assert "targets.vertex: missing" in do("apply", "twice.yaml").stderr
    assert not Path("workspace").exists()


def test_a_folder_without_schedules_and_a_file_that_is_not_there_are_refused(do: Do):
    Path("empty").mkdir()
    assert "empty: holds no .yaml file" in do("apply", "empty", "--prune").stderr
    done = do("apply", "absent.yaml")
    assert (done.exit_code, "absent.yaml: cannot be read: No such file" in done.stderr) == (2, True)


def test_an_apply_that_fails_halfway_says_what_was_done_and_a_rerun_ends_it(do: Do, monkeypatch: pytest.MonkeyPatch):
    create = LocalTarget.create_schedule

    def full(self: LocalTarget, job: Any, timing: Any, if_changed: bool, naming: Any, *, paused: bool) -> Any:
        if naming.name == "weekly":
            raise WorkError("the disk is full")
        return create(self, job, timing, if_changed, naming, paused=paused)

    monkeypatch.setattr(LocalTarget, "create_schedule", full)
    done = do("apply", "schedules")
    assert done.exit_code == 1
    assert "+ nightly  local  0 2 * * * (Europe/Berlin)\n+ weekly  local  0 2 * * 1 (UTC)  failed\n" in done.stdout
    assert "error: weekly on local: the disk is full; the same command again does the rest (1 of 2)" in done.stderr
    states = json.loads(do("apply", "schedules", "--json").stdout)["schedules"]
    assert [(each["action"], each["done"], each["reason"]) for each in states] == [
        ("keep", True, None),
        ("create", False, "the disk is full"),
    ]
    monkeypatch.setattr(LocalTarget, "create_schedule", create)
    assert actions(do) == {"nightly": "keep", "weekly": "create"}


def test_a_trigger_with_a_deadline_needs_no_section_in_the_experiment(do: Do):
    edit("cron: 0 2 * * *\ntimezone: Europe/Berlin\n", "trigger: {after: digits}\ndeadline_minutes: 90\n")
    assert actions(do) == {"nightly": "create", "weekly": "create"}


def test_a_schedule_is_found_by_its_id_and_no_other_gets_that_id_for_a_name(do: Do):
    assert actions(do) == {"nightly": "create", "weekly": "create"}
    (id,) = [
        made["schedule"] for made in json.loads(do("list", "--json").stdout)["schedules"] if made["name"] == "nightly"
    ]
    refused = do("create", "digits", "--cron", "0 3 * * *", "--name", id)
    assert refused.exit_code == 2
    assert f"--name {id}: the schedule {id} has this name" in refused.stderr
    edit("name: weekly", f"name: {id}", "schedules/b.yml")
    edit("0 2 * * *", "0 4 * * *")
    refused = do("apply", "schedules")
    assert (refused.exit_code, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
    assert f"schedules/b.yml:2: name: {id} is the id of another schedule of local" in refused.stderr


def test_a_new_schedule_gets_no_id_that_is_the_name_of_another(do: Do):
    edit("name: weekly", "name: digits-2", "schedules/b.yml")
    assert actions(do) == {"nightly": "create", "digits-2": "create"}
    assert do("create", "digits", "--cron", "0 3 * * *").stdout == "digits-3\n"
    assert do("delete", "digits-2").exit_code == 0
    left = json.loads(do("list", "--json").stdout)["schedules"]
    assert [(each["schedule"], each["name"]) for each in left] == [("nightly-1", "nightly"), ("digits-3", None)]


def test_a_schedule_that_has_ended_may_stay_in_its_file_and_is_not_made_anew(do: Do):
    edit("timezone: Europe/Berlin\n", "timezone: Europe/Berlin\nend: '2026-01-03'\n")
    refused = do("apply", "schedules")
    assert refused.exit_code == 2
    assert "schedules/a.yaml:2: nightly: end: 2026-01-03 has passed already" in refused.stderr
    with time_machine.travel("2026-01-01T12:00:00Z", tick=True):
        assert actions(do) == {"nightly": "create", "weekly": "create"}
    assert actions(do) == {"nightly": "keep", "weekly": "keep"}
