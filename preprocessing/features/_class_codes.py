"""The codes of classes, as a category stores them, of raw values that a user gives to a model."""

from collections.abc import Callable, Sequence
from typing import Any

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings.text import shown
from preprocessing.features import _raw_values

_MOST_TOLD = 8  # names of classes in an error


def code_of(spec: FeatureSpec) -> Callable[[Any], int | None]:
    """Returns a function from a raw value to the code of its class; None for anything that is no class."""
    return _code_of_name(spec) if spec.facts.get("names") else _code_of_number(spec)


def allowed(spec: FeatureSpec) -> str:
    """Returns the allowed raw values, for an error."""
    names: Sequence[str] = spec.facts.get("names", ())
    if names:
        more = f" and {len(names) - _MOST_TOLD:,} more" if len(names) > _MOST_TOLD else ""
        return f"the name of a class, of which there are {', '.join(map(shown, names[:_MOST_TOLD]))}{more}"
    if spec.levels is None or "other" in spec.facts:
        return "the number of a class, a whole one from 0 on"
    return f"the number of a class, a whole one from 0 to {spec.levels - 1:,}"


def _code_of_name(spec: FeatureSpec) -> Callable[[Any], int | None]:
    numbers, other = {name: code for code, name in enumerate(spec.facts["names"])}, spec.facts.get("other")
    return lambda value: numbers.get(value, other) if isinstance(value, str) else None


def _code_of_number(spec: FeatureSpec) -> Callable[[Any], int | None]:
    other, known = spec.facts.get("other"), frozenset(spec.facts.get("classes", ()))

    def code(value: Any) -> int | None:
        number = _raw_values.whole(value)
        if number is None or not 0 <= number < 2**63:
            return None
        if other is not None:
            return number if number in known else other
        return number if spec.levels is None or number < spec.levels else None

    return code
