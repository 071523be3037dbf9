"""Every single bit of a manifest, flipped: it is read as it was, or refused in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from elboflow.artifacts import Format
from elboflow.settings import WorkError
from elboflow.vae import folder as models
from elboflow.vae.evaluation import folder as evaluations
from preprocessing import manifest as datasets

FORMATS = Path(__file__).parents[1] / "formats/98a35c2"
KINDS = [datasets.FORMAT, models.FORMAT, evaluations.FORMAT]


def old(format: Format[Any]) -> bytes:
    return (FORMATS / format.kind / f"{format.kind}.json").read_bytes()


def outcomes(format: Format[Any], content: bytes) -> dict[str, int]:
    """Returns how often a flip left the values as they were, was refused, and gave other values."""
    facts = format.read(content, "it")
    counts = {"same": 0, "refused": 0, "other": 0}
    sentences: set[str] = set()
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            found = format.read(bytes(flipped), "it")
        except WorkError as error:
            sentences.add(str(error))
            counts["refused"] += 1
        else:
            counts["same" if found == facts else "other"] += 1
    assert all(sentence.startswith("it ") and sentence.isprintable() for sentence in sentences)
    return counts


@pytest.mark.parametrize("format", KINDS, ids=lambda format: format.kind)
def test_no_flip_gives_other_values(format: Format[Any]) -> None:
    content = format.write(format.read(old(format), "it"), indent=0).encode()
    counts = outcomes(format, content)
    assert counts["other"] == 0
    assert counts["refused"] > 0.99 * sum(counts.values())


@pytest.mark.slow
@pytest.mark.parametrize("format", KINDS, ids=lambda format: format.kind)
def test_a_flip_in_a_manifest_without_checksum_is_no_traceback(format: Format[Any]) -> None:
    assert outcomes(format, old(format))["refused"] > 0


@pytest.mark.parametrize("format", KINDS, ids=lambda format: format.kind)
def test_a_checksum_that_is_missing_or_renamed_is_damage(format: Format[Any]) -> None:
    facts = json.loads(format.write(format.read(old(format), "it")))
    for name in (None, "Checksum", "checksun"):
        without = {key: value for key, value in facts.items() if key != "checksum"}
        renamed = without if name is None else {**without, name: facts["checksum"]}
        with pytest.raises(WorkError, match="it is damaged: its checksum is not that of its content"):
            format.read(json.dumps(renamed).encode(), "it")


@pytest.mark.parametrize("format", KINDS, ids=lambda format: format.kind)
@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff\xfe", b"{}", b'{"format": true}', b'{"format": "1"}',
    b'{"format": 0}', b'{"format": -1}', b'{"format": 1}', b'{"format": 1, "x": NaN}', b'{"format": 2, "x": -1e999}',
    b'{"format": 1, "x": ' + b"9" * 5000 + b"}",
    b'{"format": 1, "model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"format": 1, "files": "\\ud800"}',
    b'{"format": 2, "x": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"format": 1, "\\u001b[2J\\u202e\\n": 1}', b'{"format": 1' + b"0" * 4000 + b"}",
], ids=lambda content: repr(content[:30]))  # fmt: skip
def test_what_is_no_manifest_is_one_sentence(format: Format[Any], content: bytes) -> None:
    with pytest.raises(WorkError) as refused:
        format.read(content, "it")
    assert str(refused.value).startswith("it ")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("format", KINDS, ids=lambda format: format.kind)
def test_what_is_too_large_is_not_parsed(format: Format[Any]) -> None:
    content = old(format).ljust(format.largest + 1)
    with pytest.raises(WorkError, match=rf"it is damaged: it is larger than {format.largest:,} bytes"):
        format.read(content, "it")


@pytest.mark.parametrize("format", KINDS, ids=lambda format: format.kind)
def test_many_mistakes_are_counted_and_not_listed(format: Format[Any]) -> None:
    facts = {**json.loads(old(format)), **{f"k{number}": 0 for number in range(50_000)}}
    with pytest.raises(WorkError, match="it is damaged: 50,000 of its values are not what is expected"):
        format.read(json.dumps(facts).encode(), "it")


@pytest.mark.parametrize("format", KINDS, ids=lambda format: format.kind)
def test_a_key_that_is_missing_or_unknown_is_named(format: Format[Any]) -> None:
    facts = json.loads(old(format))
    for name in facts.keys() - {"format", "kind"}:
        with pytest.raises(WorkError, match=f"it is damaged: .*{name}.*another version of ELBOflow wrote it"):
            format.read(json.dumps({key: value for key, value in facts.items() if key != name}).encode(), "it")
    with pytest.raises(WorkError, match=r"it is damaged: tomorrows: unknown key.*another version of ELBOflow wrote it"):
        format.read(json.dumps({**facts, "tomorrows": 1}).encode(), "it")
