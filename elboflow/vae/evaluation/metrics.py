"""The numbers of an evaluation, as they stand in `metrics.json`."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from elboflow.artifacts import read_json
from elboflow.settings import WorkError

NATS = "nats per example"
_IN_SHORT = 2


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


def in_short(metrics: Metrics) -> str:
    """Returns the first metrics in a line, which are the ones that say most."""
    shown = [f"{found.title or name} {found.value:.{found.decimals}f}" for name, found in metrics.items()]
    return ", ".join(shown[:_IN_SHORT])


def as_json(metrics: Metrics) -> dict[str, dict[str, Any]]:
    """Returns `{"elbo": {"value": …, "low": …, "high": …, "unit": …, …}, …}`."""
    return {name: asdict(metric) for name, metric in metrics.items()}


_FORMER: dict[str, dict[str, Any]] = {
    **{name: {"better": "higher", "unit": NATS} for name in ("log_likelihood", "elbo", "reconstruction")},
    "kl": {"unit": NATS},
    "bits_per_dim": {"better": "lower"},
}
"""What evaluations of formats 1 and 2 do not say of their metrics: they have values and intervals alone."""
_FIRST_DESCRIBED = 3


def read(path: Path, format: int) -> Metrics:
    """Reads a `metrics.json` of any format.

    Args:
        path: The file.
        format: The number of the format of its folder (`elboflow.vae.evaluation.folder.FORMAT`).

    Raises:
        WorkError: It is missing, or not what `as_json` makes.
    """
    try:
        return read_json(path, _metrics if format >= _FIRST_DESCRIBED else _upgraded)
    except FileNotFoundError:
        raise WorkError(f"there are no metrics at {path}") from None


def _metrics(content: Any) -> Metrics:
    return TypeAdapter(dict[str, Metric]).validate_python(content)


def _upgraded(content: Any) -> Metrics:
    return {name: replace(metric, **_FORMER.get(name, {})) for name, metric in _metrics(content).items()}
