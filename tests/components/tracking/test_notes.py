"""Markdown that runs, versions and models show in MLflow."""

from pathlib import Path

import pytest

from components.finish import begin
from components.tracking import liveness, notes, store
from components.tracking.limits import LONGEST_NOTE

pytestmark = pytest.mark.xdist_group("mlflow")


def test_a_text_is_replaced_until_a_person_edits_it() -> None:
    first = notes.replacement(None, "one")
    assert first is not None
    assert first.startswith("one\n")
    second = notes.replacement(first, "two")
    assert second is not None
    assert notes.replacement(second, "two") is None
    for edited in ("a person's", second.replace("two", "two, and more"), f"{second}\nand more"):
        assert notes.replacement(edited, "three") is None


def test_a_long_text_is_cut_off_and_replaced_all_the_same() -> None:
    long = notes.replacement(None, "x" * 6000)
    assert long is not None
    assert len(long) == LONGEST_NOTE
    assert notes.replacement(long, "short") is not None


def test_a_secret_stays_out_of_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2-S3CR3T")
    text = notes.replacement(None, "it refused hunter2-S3CR3T")
    assert text is not None
    assert "it refused ***" in text
    assert notes.replacement(text, "another") is not None


def test_signs_of_markdown_and_html_in_names_are_shown_as_they_are() -> None:
    assert notes.escaped("[a](b) | *c* `d`\n<script>") == r"\[a\](b) \| \*c\* \`d\` \<script\>"
    line = notes.table(("name", "value"), [("a|b\nc", "1")]).splitlines()[-1]
    assert line == r"| a\|b c | 1 |"


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("local", "elboflow runs retry 'night 1'"),
        ("vertex", "elboflow runs retry 'night 1' --target vertex"),
        (None, "elboflow runs retry 'night 1'"),
    ],
)
def test_the_note_of_a_failure_says_step_reason_and_how_to_repeat(target: str | None, command: str) -> None:
    note = notes.of_failure("night 1", "failed", "train", "the loss is\nnot a number", target)
    assert note.startswith("**Failed in the step train**: the loss is not a number\n")
    assert f"```sh\n{command}\n```" in note


def test_a_run_whose_process_is_gone_says_so_and_how_to_repeat_it(tracking_uri: str) -> None:
    for run in ("night-1", "night-1/0a1b2c"):  # and a trial of it
        begin({"name": "digits"}, run, tracking_uri)
    liveness.end_dead(Path(tracking_uri.removeprefix("sqlite:///")), lambda _: True)
    found = {run.info.run_name: run.data.tags for run in store.connect(tracking_uri).search_runs(["1"])}
    assert found["night-1"][notes.NOTE].startswith("**Killed**: its process is gone\n")
    assert "elboflow runs retry night-1" in found["night-1"][notes.NOTE]
    assert notes.NOTE not in found["night-1/0a1b2c"]
