"""The value of a YAML scalar: null, true, false, a number or text, as in YAML 1.2.

A scalar that YAML 1.1 and YAML 1.2 read differently is an error, because either may be meant: `no` is false
or text, `010` is 8 or 10, `1:30` is 90 or text, `2026-02-30` is a date (that does not exist) or text.
"""

import math
import re
from types import NoneType
from typing import Any

from elboflow.settings.text import short

TAGS = "tag:yaml.org,2002:"
"""What the full names of `!!str`, `!!int`, … begin with."""

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_BEYOND = 2**63
_TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool, "null": NoneType}

_TWO_READINGS = [
    (re.compile(pattern), first, second, instead)
    for pattern, first, second, instead in (
        (r"yes|Yes|YES|on|On|ON", "true", "text", "write true"),
        (r"no|No|NO|off|Off|OFF", "false", "text", "write false"),
        (r"[-+]?0[0-9_]+", "an octal number", "a decimal number", "write it without the 0 in front"),
        (r"[-+]?0o[0-7_]+", "text", "an octal number", "write a decimal number"),
        (r"[-+]?0b[01_]+|[-+]0x[0-9a-fA-F_]+", "a number", "text", "write a decimal number"),
        (r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?", "a number to the base of 60", "text", "write a number"),
        (
            r"(?=.*_)[-+]?(0x[0-9a-fA-F_]+|([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?)",
            "a number",
            "text",
            "write it without underscores",
        ),
        (r"\d{4}-\d\d?-\d\d?(([Tt]|[ \t]+)\d\d?:\d\d:\d\d.*)?", "a date", "text", None),
    )
]


class ScalarError(ValueError):
    """A word has two readings, or is a number that no value can hold. The message is a sentence about it."""


def plain(text: str) -> Any:
    """Returns the value of a word without quotes and without a tag: None, a bool, an int, a float or text.

    Raises:
        ScalarError: YAML 1.1 and 1.2 read it differently, or it is a number that no value can hold.
    """
    if text in _WORDS:
        return _WORDS[text]
    for pattern, first, second, instead in _TWO_READINGS:
        if pattern.fullmatch(text):
            ways = f"{instead}, or put it in quotes" if instead else "put it in quotes"
            raise ScalarError(f"{short(text)} is {first} in YAML 1.1 and {second} in YAML 1.2; {ways} if it is text")
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _NOT_FINITE.fullmatch(text):
        raise ScalarError(f"{short(text)} is no finite number")
    return _float(text) if _FLOAT.fullmatch(text) else text


def tagged(tag: str, text: str) -> Any:
    """Returns the value of a word with an explicit tag.

    Args:
        tag: The tag's full name.
        text: The word, without its quotes.

    Raises:
        ScalarError: The tag is none of JSON's types, or does not fit the word.
    """
    name = tag.removeprefix(TAGS)
    if tag == TAGS + "str":
        return text
    if tag == name or name not in _TYPES:
        raise ScalarError(f"the tag {short(written_tag(tag))} is not allowed; allowed: !!str, !!{', !!'.join(_TYPES)}")
    value = plain(text)
    if name == "float" and type(value) is int:
        return float(value)
    if type(value) is not _TYPES[name]:
        raise ScalarError(f"{short(text)} is not what its tag {written_tag(tag)} says")
    return value


def written_tag(tag: str) -> str:
    """Returns the short form of a tag: `!!int`."""
    return f"!!{tag.removeprefix(TAGS)}" if tag.startswith(TAGS) else tag


def _integer(text: str) -> int:
    value = int(text, 16 if text.startswith("0x") else 10) if len(text) <= 20 else _BEYOND
    if not -_BEYOND <= value < _BEYOND:
        raise ScalarError(f"{short(text)} is beyond the whole numbers of 64 bits")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ScalarError(f"{short(text)} is beyond the floating-point numbers of 64 bits")
    return value
