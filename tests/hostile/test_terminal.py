"""Names, keys and messages that try to steer the terminal: they are shown, and nothing in them is obeyed."""

import io
import json
import subprocess
import sys
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from elboflow.settings.terminal import one_line, printable
from pipelines.cli import app
from pipelines.console import make_console
from pipelines.step_process.start import never_fail
from pipelines.targets.local.process import ProcessIdentity
from pipelines.targets.local.record import Record

HOSTILE = {
    "title": "a\x1b]0;owned\x07b",
    "clear": "a\x1b[2Jb",
    "eight-bit": "a\x9b2Jb",
    "overwritten": "good\rbad!",
    "backwards": "model\u202egpj.exe",
    "isolated": "\u2066a\u2069",
    "lines": "a\u2028b\u2029c\x85d\x0be",
    "tags": "a\U000e0041b",
    "half": "a\udc9bb",
    "markup": "[bold]a[/bold] [link=file:///etc/passwd]b[/link] [/nothing] :smile:",
}
STEERS = ("Cc", "Cf", "Cs", "Zl", "Zp")


def steering(text: str) -> list[str]:
    return [c for c in text if unicodedata.category(c) in STEERS and c not in "\n\t\u200c\u200d"]


@given(st.text(st.characters(codec=None)))
def test_no_text_steers_and_escaping_twice_is_escaping_once(text: str):
    shown = printable(text)
    assert steering(shown) == []
    assert printable(shown) == shown
    assert "\n" not in one_line(text)
    assert shown.count("\n") == text.count("\n")


@pytest.mark.parametrize("text", ["", "plain", "zwei\nZeilen", "Größe – 5 × 10⁻³ …", "می‌خواهم", "👩‍🔬", "日本", "a\tb"])
def test_ordinary_text_of_any_language_stays_as_it_is(text: str):
    assert printable(text) == text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_console_shows_strings_texts_and_cells_as_they_are_written(text: str):
    shown = io.StringIO()
    console = make_console()
    console.file, console.width = shown, 10_000
    table = Table("name", text, title=text, box=None)
    table.add_row(text, Text(text))
    console.print(text, Text(text), table, sep="\n")
    assert steering(shown.getvalue()) == []
    assert shown.getvalue().count(printable(text)) >= 4
    assert not any(link in shown.getvalue() for link in ("\x1b", "\x9b"))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_command_lets_a_runs_record_steer_the_terminal(text: str, tmp_path: Path):
    now = datetime.now(UTC)
    record = Record("digits-1", text, ProcessIdentity.current(), "running", now).over("failed", f"because of {text}")
    record.write(tmp_path / "runs")
    path = tmp_path / "runs" / "digits-1" / "run.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"run": "digits-1"', f'"run": {json.dumps(text)}'))
    for command in (["runs"], ["status", "digits-1"], ["runs", "attach", "digits-1"], ["cancel", "digits-1"]):
        done = CliRunner().invoke(app, [*command, "--workspace", str(tmp_path)])
        assert "Traceback" not in done.stderr, done.stderr
        assert steering(done.stdout + done.stderr) == []
        assert printable(text) in done.stdout + done.stderr


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_key_that_is_not_known_is_named_without_being_obeyed(text: str, tmp_path: Path):
    path = tmp_path / "experiment.yaml"
    path.write_text(f"name: a\n{json.dumps(text)}: 1\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["config", str(path)])
    assert done.exit_code == 2
    assert steering(done.stdout + done.stderr) == []


def test_an_error_that_was_not_foreseen_does_not_steer_either():
    program = f"""
from pipelines import cli
def app():
    raise LookupError({HOSTILE["title"]!r})
cli.app = app
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1] == r"LookupError: a\x1b]0;owned\x07b"


def test_a_stream_escapes_what_its_encoding_lacks():
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    never_fail(stream)
    stream.write("5 × 10 …\udc80")
    stream.flush()
    assert written.getvalue() == rb"5 \xd7 10 \u2026\udc80"
