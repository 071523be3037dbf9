"""The metrics of an evaluation, as in `metrics.json`."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from elboflow.artifacts import read_json
from elboflow.settings import WorkError

NATS = "nats per example"
_IN_SUMMARY = 2
_DIGITS_OF_WIDTH = 3
_MOST_DECIMALS = 8


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Metric:
    """A metric with its 95 % bootstrap interval. The numbers must be finite.

    Attributes:
        value: The value.
        low: The lower end of the interval.
        high: The upper end of the interval.
        title: The display name.
        unit: The unit of value and interval; "" for counts and metrics without a unit.
        better: The better direction; None if neither direction is better.
        meaning: An explanation for readers, in sentences.
        decimals: The digits after the point if the interval has no width; 0 for counts.
        slice: The subset of examples, if the metric is not over all examples.
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

    @property
    def shown(self) -> tuple[str, str, str]:
        """Value, low and high for readers, `-21,238.4`: as many digits as show the interval's width to three digits."""
        width = self.high - self.low
        places = self.decimals
        if places and width > 0:
            places = min(max(_DIGITS_OF_WIDTH - 1 - math.floor(math.log10(width)), 0), _MOST_DECIMALS)
        value, low, high = (f"{number:,.{places}f}" for number in (self.value, self.low, self.high))
        return value, low, high


Metrics = Mapping[str, Metric]
"""Metrics by name, in display order."""


def values(metrics: Metrics) -> dict[str, float]:
    """Returns the values without intervals, by name."""
    return {name: metric.value for name, metric in metrics.items()}


def summary(metrics: Metrics) -> str:
    """Returns the first two metrics, the most important ones, in a line for logs."""
    shown = [f"{found.title or name} {found.shown[0]}" for name, found in metrics.items()]
    return ", ".join(shown[:_IN_SUMMARY])


def as_json(metrics: Metrics) -> dict[str, dict[str, Any]]:
    """Returns `{"elbo": {"value": …, "low": …, "high": …, "unit": …, …}, …}`."""
    return {name: asdict(metric) for name, metric in metrics.items()}


_FORMER: dict[str, dict[str, Any]] = {
    **{name: {"better": "higher", "unit": NATS} for name in ("log_likelihood", "elbo", "reconstruction")},
    "kl": {"unit": NATS},
    "bits_per_dim": {"better": "lower"},
}
"""Units and directions of the metrics in formats 1 and 2, which store only values and intervals."""
_FIRST_DESCRIBED = 3


def read(path: Path, format: int) -> Metrics:
    """Reads a `metrics.json` of any format.

    Args:
        path: The file.
        format: The number of the format of its folder (`elboflow.vae.evaluation.folder.FORMAT`).

    Raises:
        WorkError: The file is missing or damaged, or has another structure.
    """
    try:
        return read_json(path, _metrics if format >= _FIRST_DESCRIBED else _upgraded)
    except FileNotFoundError:
        raise WorkError(f"there are no metrics at {path}") from None


def _metrics(content: Any) -> Metrics:
    return TypeAdapter(dict[str, Metric]).validate_python(content)


def _upgraded(content: Any) -> Metrics:
    return {name: replace(metric, **_FORMER.get(name, {})) for name, metric in _metrics(content).items()}
