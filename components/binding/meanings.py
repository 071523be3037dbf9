"""Whether stored values of two specs mean the same: a code is a symbol of a vocabulary, a class, a raw value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import table
from elboflow.settings.text import shown
from preprocessing.features import Feature

_WHOLE = 4  # entries of a list that is told whole
_TOLD = 3  # entries of a longer one


@dataclass(frozen=True)
class Difference:
    """What two specs of a feature say differently, as words for a sentence.

    Attributes:
        one: Of the first spec.
        other: Of the second one.
    """

    one: str
    other: str


def difference(one: FeatureSpec, other: FeatureSpec) -> Difference | None:
    """Returns what differs between two specs of a feature whose values could be taken for each other's, or None.

    Facts that only one of the specs has are not compared: older versions did not write all of them. Nor are those of a
    kind whose package is not installed here.
    """
    if (one.kind, one.shape, one.levels) != (other.kind, other.shape, other.levels):
        kinds = ("", "") if one.kind == other.kind else (f"kind {one.kind}, ", f"kind {other.kind}, ")
        return Difference(kinds[0] + _sizes(one), kinds[1] + _sizes(other))
    first, second = _meaning(one), _meaning(other)
    for name in first:
        if name in second and first[name] != second[name]:
            return Difference(_told(name, first[name], second[name]), _told(name, second[name], first[name]))
    return None


def _sizes(spec: FeatureSpec) -> str:
    return f"shape {list(spec.shape)} with {spec.levels} levels"


def _meaning(spec: FeatureSpec) -> Mapping[str, Any]:
    try:
        kind: type[Feature] = table.find(Feature, spec.kind)
    except LookupError:
        return {}
    return kind.meaning(spec)


def _told(name: str, value: Any, other: Any) -> str:
    """Returns a fact in a few words; of a long list, some entries from the first one that differs on."""
    if value is None:
        return f"no {name}"
    if not isinstance(value, list) or len(value) <= _WHOLE:
        return f"{name} {shown(value)}"
    others = other if isinstance(other, list) else []
    pairs = zip(value, others, strict=False)
    first = next((place for place, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(value), len(others)))
    if first == len(value):
        return f"{name} of {len(value):,} entries"
    return f"{name} of {len(value):,} entries, from {first:,} on {shown(value[first : first + _TOLD])}"
