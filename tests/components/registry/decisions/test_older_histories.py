"""Histories of every format of lines are verified by the rules of their format."""

from pathlib import Path

import pytest

from components.registry.decisions import history_run, record, verify
from components.registry.decisions.history import open_history
from components.registry.decisions.history_run import FILE
from components.registry.decisions.rules import RULES
from components.tracking import store

pytestmark = pytest.mark.xdist_group("mlflow")

FORMATS = Path(__file__).parents[3] / "formats"


def checked(written: Path, tracking_uri: str, text: str) -> verify.Checked:
    """Puts a history into an MLflow, with other lines, and verifies it."""
    client = store.connect(tracking_uri)
    client.create_registered_model("digits-vae")
    experiment = store.named_experiment(client, tracking_uri, history_run.EXPERIMENT)
    run_id = client.create_run(experiment, run_name="digits-vae").info.run_id
    client.log_artifacts(run_id, str(written / "decisions"), "decisions")
    client.log_text(run_id, text, FILE)
    return verify.verify(open_history(client, tracking_uri, "digits-vae"))


def test_the_newest_history_has_looks_at_a_whole_share_and_at_parts_of_one() -> None:
    events = record.parse((FORMATS / f"history-{max(RULES)}" / FILE).read_text(encoding="utf-8"), FILE)
    assert {look.spends for event in events for look in event.looks} == {"part", "whole"}


def test_every_format_has_a_history_that_was_written_by_it() -> None:
    assert {f"history-{number}" for number in RULES} == {folder.name for folder in FORMATS.glob("history-*")}
    for number in RULES:
        text = (FORMATS / f"history-{number}" / FILE).read_text(encoding="utf-8")
        assert {event.format for event in record.parse(text, FILE)} == {number}


@pytest.mark.parametrize("number", RULES)
def test_a_history_is_verified_by_the_rules_of_its_format(number: int, tracking_uri: str) -> None:
    written = FORMATS / f"history-{number}"
    found = checked(written, tracking_uri, (written / FILE).read_text(encoding="utf-8"))
    assert (found.events - found.recomputed, found.problems) == (1, ())


def test_the_rules_of_the_formats_differ(tracking_uri: str) -> None:
    written = FORMATS / "history-1"
    lines = []
    for event in record.parse((written / FILE).read_text(encoding="utf-8"), FILE):
        previous = record.digest(lines[-1]) if lines else None
        lines.append(event.model_copy(update={"format": 2, "previous": previous}).line)
    problems = checked(written, tracking_uri, "".join(f"{line}\n" for line in lines)).problems
    assert any("the challenger that follows from the stored values is" in problem for problem in problems)
    assert any("the gain of version" in problem for problem in problems)


def test_a_whole_share_that_was_spent_although_a_second_look_could_come_is_found(tracking_uri: str) -> None:
    written = FORMATS / f"history-{max(RULES)}"
    first, second, third = record.parse((written / FILE).read_text(encoding="utf-8"), FILE)[:3]
    look = third.looks[0].model_copy(update={"spends": "whole", "level": third.looks[0].share})
    changed = third.model_copy(update={"looks": (look, *third.looks[1:])})
    problems = checked(written, tracking_uri, "".join(f"{event.line}\n" for event in (first, second, changed))).problems
    assert any("it spent the whole share at once, and its test split had grown" in problem for problem in problems)
