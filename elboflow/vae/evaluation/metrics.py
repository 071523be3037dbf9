"""The numbers of an evaluation, as they stand in `metrics.json`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from elboflow.artifacts import read_json
from elboflow.settings import WorkError


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Metric:
    """A number with its 95 % bootstrap interval. One that is not finite is refused.

    Attributes:
        value: The number.
        low: Where the interval begins.
        high: Where it ends.
        title: What people call it.
        unit: Of value and interval; empty where it is a count or has none.
        better: Which direction is better; None: neither.
        meaning: What it says, in sentences.
        decimals: How many digits after the point tell something.
        slice: Of which examples it is, where not of all.
    """

    value: float
    low: float
    high: float
    title: str = ""
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    meaning: str = ""
    decimals: int = 2
    slice: str | None = None


Metrics = Mapping[str, Metric]
"""By name, in the order in which people are shown them."""


def values(metrics: Metrics) -> dict[str, float]:
    """Returns the numbers without their intervals, by name."""
    return {name: metric.value for name, metric in metrics.items()}


def as_json(metrics: Metrics) -> dict[str, dict[str, Any]]:
    """Returns `{"elbo": {"value": …, "low": …, "high": …, "unit": …, …}, …}`."""
    return {name: asdict(metric) for name, metric in metrics.items()}


def read(path: Path) -> Metrics:
    """Reads a `metrics.json`. Those of format 1 say values and intervals alone.

    Raises:
        WorkError: It is missing, or not what `as_json` makes.
    """
    try:
        return read_json(path, TypeAdapter(dict[str, Metric]).validate_python)
    except FileNotFoundError:
        raise WorkError(f"there are no metrics at {path}") from None
