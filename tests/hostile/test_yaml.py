"""An experiment's YAML that is hostile, damaged or ambiguous: refused at once, with its line, by exit code 2."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from elboflow.settings import RequestError, yaml_text, yaml_writing
from elboflow.settings.yaml_text import YAMLTextError
from pipelines.experiment import load
from pipelines.experiment import text as source

SHORTEST = "name: mine\ndata: {source: sklearn}\n"
SECONDS = 1.0
MEGABYTES = 200
LOADS = """
import sys, time
from pipelines.experiment import load
from elboflow.settings import RequestError
started = time.process_time()
try:
    load(sys.argv[1])
except RequestError as error:
    print(error)
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM"))
print("costs", time.process_time() - started, int(peak.split()[1]) / 1000)
"""


def refusal(text: str) -> str:
    with pytest.raises(YAMLTextError) as caught:
        yaml_text.read(text)
    return f"{caught.value.line}: {caught.value}"


def aliases_of_aliases(levels: int) -> str:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{i + 1}: &l{i + 1} [{', '.join([f'*l{i}'] * 10)}]" for i in range(levels)]
    return "\n".join(lines)


def sections_of_sections(levels: int) -> str:
    lines = ["l0: &l0 {a: 1, b: 1}"]
    lines += [f"l{i + 1}: &l{i + 1} {{a: *l{i}, b: *l{i}}}" for i in range(levels)]
    return "\n".join(lines)


def merges_of_merges(levels: int) -> str:
    lines = ["l0: &l0 {a: 1, b: 1}"]
    lines += [f"l{i + 1}: &l{i + 1} {{<<: [*l{i}, *l{i}], k{i}: 1}}" for i in range(levels)]
    return "\n".join(lines)


BOMBS = {
    "aliases of aliases": aliases_of_aliases(9),
    "sections of sections": sections_of_sections(60),
    "merges of merges": merges_of_merges(3000),
    "unknown keys": "\n".join(f"k{i}: 1" for i in range(9_900)),
    "too many unknown keys": "\n".join(f"k{i}: 1" for i in range(200_000)),
    "values of a wrong type": f"model: {{encoder: {{kind: mlp, hidden: [{', '.join(['x'] * 9_900)}]}}}}",
    "values of a wrong kind": "targets: {vertex: {secrets: {" + ", ".join(f"K{i}: [x]" for i in range(3_000)) + "}}}",
    "values in one sentence": "evaluation: {" + ", ".join(f"k{i}: {'y' * 200}" for i in range(1_000)) + "}",
    "brackets": "a: " + "[" * 400_000,
    "braces": "a: " + "{b: " * 200_000,
    "dashes": "a:\n" + "- " * 400_000,
    "questions": "? " * 400_000,
    "indents": "\n".join(" " * i + "a:" for i in range(1_200)),
    "anchors": "a: [" + ", ".join(f"&a{i} x" for i in range(60_000)) + "]",
    "directives": "\n".join(f"%TAG !a{i}! tag:x,{i}:" for i in range(30_000)),
    "text": f'a: "{"x" * 900_000}"',
    "aliases of text": "notify:\n  - &t " + "x" * 9_000 + "\n" + "  - *t\n" * 9_000,
    "a key": f"{'x' * 900}: 1",
    "spaces": "a: [" + " " * 900_000,
    "digits": f"seed: {'9' * 9_000}",
    "an exponent": f"seed: 1e{'9' * 9_000}",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_text_that_would_grow_is_refused_within_a_second_in_little_memory_and_few_words(tmp_path: Path, bomb: str):
    path = tmp_path / "mine.yaml"
    path.write_text(SHORTEST + BOMBS[bomb] + "\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", LOADS, path], capture_output=True, encoding="utf-8", timeout=60)
    told, _, costs = done.stdout.rpartition("costs")
    seconds, megabytes = map(float, costs.split())
    assert told.startswith(f"{path}")
    assert len(told) < 30_000
    assert len(told.splitlines()) <= 21
    assert seconds < SECONDS
    assert megabytes < MEGABYTES


def test_the_first_mistakes_are_told_and_the_rest_is_counted(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(SHORTEST + "\n".join(f"k{i}: 1" for i in range(5_000)), encoding="utf-8")
    with pytest.raises(RequestError) as caught:
        load(str(path))
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[0].startswith(f"{path}:3: k0: unknown key")
    assert lines[-1] == f"{path}: … and 4,980 more mistakes"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 2020-13-45", "a date in YAML 1.1 and text in YAML 1.2; put it in quotes if it is text"),
        ("a: 2026-02-30", "a date in YAML 1.1"),
        ("a: 2026-02-03 10:11:12", "a date in YAML 1.1"),
        ("a: 2026-02-03T10:11:12.5Z", "a date in YAML 1.1"),
        ("a: 010", "an octal number in YAML 1.1 and a decimal number in YAML 1.2; write it without the 0 in front"),
        ("a: -007", "an octal number"),
        ("a: 08", "an octal number"),
        ("a: 0o17", "text in YAML 1.1 and an octal number in YAML 1.2"),
        ("a: 0b101", "a number in YAML 1.1 and text in YAML 1.2"),
        ("a: -0x1f", "a number in YAML 1.1 and text in YAML 1.2"),
        ("a: 1:30", "a number to the base of 60 in YAML 1.1 and text in YAML 1.2"),
        ("a: 1:30:00.5", "a number to the base of 60"),
        ("a: 1_000", "a number in YAML 1.1 and text in YAML 1.2; write it without underscores"),
        ("a: 1_000.5", "write it without underscores"),
        ("a: 1_0e3", "write it without underscores"),
        ("a: 0x_1f", "write it without underscores"),
        ("a: no", "no is false in YAML 1.1 and text in YAML 1.2; write false, or put it in quotes if it is text"),
        ("a: Yes", "Yes is true in YAML 1.1 and text in YAML 1.2; write true"),
        ("a: OFF", "OFF is false"),
        ("on: 1", "on is true"),
        ("a: .inf", ".inf is no finite number"),
        ("a: -.INF", "-.INF is no finite number"),
        ("a: .nan", ".nan is no finite number"),
        ("a: 1e999", "1e999 is beyond the floating-point numbers of 64 bits"),
        ("a: 9223372036854775808", "is beyond the whole numbers of 64 bits"),
        ("a: 0xffffffffffffffff", "is beyond the whole numbers of 64 bits"),
        ("a: " + "9" * 5_000, "9999999… is beyond the whole numbers of 64 bits"),
        ("a: !!int foo", "foo is not what its tag !!int says"),
        ("a: !!float foo", "foo is not what its tag !!float says"),
        ("a: !!bool 1", "1 is not what its tag !!bool says"),
        ("a: !!binary aGVsbG8=", "the tag !!binary is not allowed; allowed: !!str, !!int, !!float, !!bool, !!null"),
        ("a: !!timestamp 2026-01-01", "the tag !!timestamp is not allowed"),
        ("a: !!set {b, c}", "the tag !!set is not allowed; allowed here: !!map"),
        ("a: !!omap [b: 1]", "the tag !!omap is not allowed; allowed here: !!seq"),
        ("a: !!python/object/apply:os.system [true]", "the tag !!python/object/apply:os.system is not allowed"),
        ("a: !mine 3", "the tag !mine is not allowed"),
        ("a: !<int> 3", "the tag int is not allowed"),
        ("a: *b", "*b stands for nothing that is above it"),
        ("a: &a [*a]", "*a stands within what it stands for"),
        ("a: {b: 1, c: 2, b: 3}", "a.b is given twice, here and on line 2"),
        ("a: {<<: {b: 1}, <<: {c: 1}}", "a.<< is given twice"),
        ("a: {<<: 3}", "<< takes a section or a list of sections"),
        ("a: {<<: [{b: 1}, 3]}", "<< takes a section or a list of sections"),
        ("1: a", "the key 1 is not text; put it in quotes"),
        ("null: a", "the key null is not text"),
        ("? \n: a", "the key that is absent is not text"),
        ("? [a, b]\n: c", "a key must be text"),
        ("a: &x b\n*x : c", "a key must be text"),
        ("a:\n\tb: 1", "a tab where only spaces may stand"),
        ("a: [1", "did not find expected ',' or ']'"),
        ("%YAML 1.1", "a directive, a line that begins with %"),
        ("---\na: 1\n---\nb: 2", "a second document begins"),
        ("a: \x00", "the character U+0000 is not allowed"),
        ("a: \x1b[31m", "the character U+001B is not allowed"),
        ("a: \udc80", "the character U+DC80 is not allowed"),
        ('a: "\\0"', "text with a character that is not allowed"),
    ],
)  # fmt: skip
def test_what_is_not_plain_or_has_two_readings_is_refused_by_its_line(text: str, told: str):
    message = refusal(f"# a comment\n{text}\n")
    assert told in message
    assert int(message.partition(":")[0]) in range(2, 6)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("---\na: 1\n...\n", {"a": 1}),
        ("a: [1, -2, +3, 0, 0x1F]", {"a": [1, -2, 3, 0, 31]}),
        ("a: [1.5, .5, 5., 1e3, 1e-3, -1.5E+3]", {"a": [1.5, 0.5, 5.0, 1000.0, 0.001, -1500.0]}),
        ("a: [true, FALSE, null, ~]", {"a": [True, False, None, None]}),
        ("a: ['no', \"010\", '1:30', yEs, y]", {"a": ["no", "010", "1:30", "yEs", "y"]}),
        ("a: [n, =, 1.2.3, 0 2 * * *, a:1]", {"a": ["n", "=", "1.2.3", "0 2 * * *", "a:1"]}),
        ("a: [!!str 010, !!float 3, !!int '7', ! 'no']", {"a": ["010", 3.0, 7, "no"]}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("d: {<<: [{b: 1}, {b: 2, c: 2}]}", {"d": {"b": 1, "c": 2}}),
        ("'<<': 3", {"<<": 3}),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
    ],
)  # fmt: skip
def test_plain_values_are_read_as_yaml_1_2_says(text: str, value: object):
    assert yaml_text.read(text).value == value


def test_a_merged_key_has_the_line_on_which_it_is_written():
    lines = yaml_text.read("a: &x\n  b: 1\nc:\n  <<: *x\n  d: 2\n").lines
    assert (lines["c", "b"], lines["c", "d"], lines["a", "b"]) == (2, 5, 2)


texts = st.text(max_size=20).filter(lambda text: not any("\ud800" <= c <= "\udfff" or c == "\0" for c in text))
words = st.sampled_from(
    ["no", "on", "010", "1e3", "1_000", "1:30", "2026-01-01", "=", "<<", "~", "", " ", "0o7", ".inf"]
)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | texts | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | words, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@example({"\x85": None, " ": "\u2028a"})
@given(plain_values)
def test_what_is_written_is_read_again_as_the_same_values(value: object):
    again = yaml_text.read(yaml_writing.write(value)).value
    assert again == value
    assert repr(again) == repr(value)


@given(
    st.text(alphabet="ab:-?[]{},&*!|>'\"%@#\n\t 01<.~e_", max_size=60) | st.text(max_size=30) | st.binary(max_size=40)
)
def test_every_text_is_read_or_refused_with_words(tmp_path_factory: pytest.TempPathFactory, text: str | bytes):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(RequestError):
        source.find(str(path))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"name: mine\n# \xff\n", ":2: not text in UTF-8: the byte 0xff"),
        ("name: mine\n".encode("utf-16"), ":1: not text in UTF-8: the byte 0xff"),
        (b"- digits\n", ": an experiment is a section of keys and values"),
        (b"just words\n", ": an experiment is a section of keys and values"),
        (b"", ": name: missing"),
        (b"#" * 2_000_000, ": larger than 1,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(tmp_path: Path, content: bytes, told: str):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(RequestError) as caught:
        load(str(path))
    assert str(caught.value).startswith(f"{path}{told}")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SHORTEST.replace("\n", "\r\n").encode())
    assert load(str(path)).name == "mine"


def test_what_is_no_file_is_refused_without_waiting_for_its_end(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.yaml")
    started = time.monotonic()
    for path, told in (
        ("/dev/zero", "is a pipe or a device"),
        (str(tmp_path / "pipe.yaml"), "is a pipe or a device"),
        (str(tmp_path), "is a folder"),
        (f"{tmp_path}/{'x' * 300}.yaml", "File name too long"),
        (f"{tmp_path}/a.yaml/b", "no such file"),
        ("a\0b", "no such file or experiment"),
    ):
        with pytest.raises(RequestError, match=told):
            load(path)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("registry.model=2026-02-30", "2026-02-30 is a date in YAML 1.1"),
        ("seed=010", "010 is an octal number"),
        ("training.max_minutes=1:30", "1:30 is a number to the base of 60"),
        ("name=no", "no is false in YAML 1.1 and text in YAML 1.2"),
        ("seed=" + "9" * 5_000, "is beyond the whole numbers of 64 bits"),
        ("seed=!!int foo", "foo is not what its tag !!int says"),
        ("registry.model=", "there is no value after the ="),
        ("registry.model= ", "there is no value after the ="),
        ("name=\udc80", "the character U+DC80 is not allowed"),
        ("name=a\n---\nb", "a second document begins"),
        ("training=*a", "stands for nothing"),
        (".".join("a" * 5_000) + "=1", "expected KEY=VALUE"),
        ("model.encoder.hidden." + "9" * 5_000 + "=1", "and has the places 0 to 1"),
        ("model.encoder.hidden.٣=1", "and has the places 0 to 1"),
    ],
    ids=range(14),
)  # fmt: skip
def test_values_on_the_command_line_follow_the_same_rules(assignment: str, told: str):
    with pytest.raises(RequestError) as caught:
        load("digits", [assignment])
    assert told in str(caught.value)
    assert str(caught.value).startswith("--set ")
    assert len(str(caught.value)) < 500
