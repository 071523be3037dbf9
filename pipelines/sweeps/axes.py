"""What a sweep varies: `--over KEY=A,B,C`, `--over KEY=LOW..HIGH` and `--over KEY=LOW..HIGH:log`."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from elboflow.settings import RequestError
from elboflow.settings.explain import dotted, shown
from elboflow.settings.near import near
from elboflow.settings.yaml_text import YAMLTextError
from pipelines.experiment import Experiment
from pipelines.experiment import text as source

SWEPT = ("model", "training", "seed")
"""The sections that a sweep may vary: what a training depends on besides its dataset."""

MOST = 1000
"""Trials of a grid."""

_OTHER_NAMES = {"training.seed": "seed"}
"""What a key may be called here besides: over a sweep, it is the seed of the trainings that varies."""

_RANGE = re.compile(r"(?P<low>[^:]+?)\.\.(?P<high>[^:]+?)(?P<log>:log)?")


@dataclass(frozen=True)
class Choices:
    """Values to try, one after the other; `text` is as they were asked for."""

    key: str
    text: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """A range of numbers to search, by magnitude if `log`; `text` is as it was asked for."""

    key: str
    text: str
    low: int | float
    high: int | float
    log: bool

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers: both ends are."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def values(self) -> tuple[Any, ...]:
        """Both ends: where they are allowed, what lies between is, too."""
        return (self.low, self.high)


Axis = Choices | Range


def parse(over: Sequence[str], experiment: Experiment) -> tuple[Axis, ...]:
    """Reads what a sweep varies, such as `model.latent=2,8,32`, in the order of the command line.

    Raises:
        RequestError: A text is malformed, or its key does not exist, cannot be varied, or is given twice.
    """
    axes = tuple(_axis(text, experiment) for text in over)
    for i, axis in enumerate(axes):
        for other in axes[:i]:
            long, short = sorted((f"{axis.key}.", f"{other.key}."), key=len, reverse=True)
            if long.startswith(short):
                raise RequestError(
                    f"--over {axis.key}=…: {other.key} varies already, by --over {other.key}={other.text}"
                )
    return axes


def grid(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Returns every combination of the values, the last axis varying fastest.

    Raises:
        RequestError: An axis is a range, which has no end of values; or there are too many combinations.
    """
    for axis in axes:
        if isinstance(axis, Range):
            raise RequestError(
                f"--over {axis.key}={axis.text}: a grid takes values, such as {axis.low},{axis.high}; a range is "
                "searched with --search tpe"
            )
    count = prod(len(axis.values) for axis in axes)
    if count > MOST:
        raise RequestError(
            f"--over: {count:,} combinations, and a grid trains each of them, {MOST:,} at most; a search tries some of "
            "them: --search tpe --trials N"
        )
    keys = [axis.key for axis in axes]
    return [dict(zip(keys, values, strict=True)) for values in product(*(axis.values for axis in axes))]


def corners(axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """Yields combinations that hold every value of every axis at least once: what is to be checked before a search."""
    longest = max(len(axis.values) for axis in axes)
    for i in range(longest):
        yield {axis.key: axis.values[min(i, len(axis.values) - 1)] for axis in axes}


def _axis(text: str, experiment: Experiment) -> Axis:
    key, equals, values = text.partition("=")
    key = _OTHER_NAMES.get(key.strip(), key.strip())
    if not equals or not key or not values.strip():
        raise RequestError(f"--over {text}: expected KEY=VALUE,VALUE,… such as model.latent=2,8,32")
    _check_key(key, text, experiment)
    if (found := _RANGE.fullmatch(values.strip())) is not None:
        return _range(key, values.strip(), found)
    try:
        choices = tuple(source.value(f"[{values}]"))
    except YAMLTextError as error:
        raise RequestError(f"--over {text}: expected values with commas between them: {error}") from None
    if len(choices) > MOST:
        raise RequestError(f"--over {key}=…: {len(choices):,} values, and a sweep tries {MOST:,} at most")
    for i, choice in enumerate(choices):
        if any(_same(choice, other) for other in choices[:i]):
            raise RequestError(f"--over {text}: {shown(choice)} is given twice")
    return Choices(key, values.strip(), choices)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are one: for Python, false is 0."""
    return one == other and json.dumps(one, default=str) == json.dumps(other, default=str)


def _range(key: str, text: str, found: re.Match[str]) -> Range:
    try:
        ends = [source.value(found[end]) for end in ("low", "high")]
    except YAMLTextError:
        ends = []
    low, high = (_number(end) for end in ends or (None, None))
    if low is None or high is None:
        raise RequestError(f"--over {key}={text}: expected LOW..HIGH or LOW..HIGH:log, with two numbers")
    if not low < high:
        raise RequestError(f"--over {key}={text}: the range ends at {high:g}, which is not above {low:g}")
    log = found["log"] is not None
    if log and low <= 0:
        raise RequestError(f"--over {key}={text}: a range by magnitude starts above 0")
    return Range(key, text, low, high, log)


def _number(value: Any) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _check_key(key: str, text: str, experiment: Experiment) -> None:
    first, last = key.partition(".")[0], key.rpartition(".")[2]
    if first in SWEPT and (key == last or last not in SWEPT):
        return  # whether the rest of the key exists shows when its values are checked
    if first in Experiment.model_fields and first not in SWEPT:
        raise RequestError(
            f"--over {text}: {first} is the same for all trials, which share one dataset and one evaluation; a sweep "
            f"varies what training depends on: {', '.join(SWEPT)}"
        )
    known = list(_keys(experiment.model_dump(mode="json", include=set(SWEPT))))
    without_section = [whole for whole in known if whole.endswith(f".{key}")]
    meant = last if last in SWEPT else without_section[0] if len(without_section) == 1 else near(key, known)
    hint = f"did you mean '{meant}'? " if meant else ""
    raise RequestError(f"--over {text}: {key}: unknown key; {hint}a sweep varies keys of {', '.join(SWEPT)}")


def _keys(values: Any, path: tuple[str | int, ...] = ()) -> Iterator[str]:
    if path:
        yield dotted(path)
    for key, value in values.items() if isinstance(values, dict) else ():
        yield from _keys(value, (*path, key))
