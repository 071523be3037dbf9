"""The numbers of an evaluation, as they stand in `metrics.json`."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pydantic import TypeAdapter

from elboflow.artifacts import read_json
from elboflow.settings import WorkError
from elboflow.vae.evaluation.bootstrap import Estimate


@dataclass(frozen=True)
class Metrics:
    """What a model is worth on the test split, each number with its 95 % bootstrap interval.

    Attributes:
        elbo: Evidence lower bound, nats per example; higher is better.
        reconstruction: E_q log p(x|z), nats per example; higher is better.
        kl: KL(q(z|x) ‖ p(z)), nats per example.
        log_likelihood: Importance-weighted bound on log p(x), nats per example; higher is better.
        bits_per_dim: The same in bits for each value of an image; lower is better.
        active_units: Latent units whose posterior mean varies by more than 0.01.
    """

    elbo: Estimate
    reconstruction: Estimate
    kl: Estimate
    log_likelihood: Estimate
    bits_per_dim: Estimate
    active_units: Estimate

    def values(self) -> dict[str, float]:
        """Returns the numbers without their intervals, by name."""
        return {field.name: getattr(self, field.name).value for field in fields(self)}

    def as_json(self) -> dict[str, dict[str, float]]:
        """Returns `{"elbo": {"value": …, "low": …, "high": …}, …}`."""
        return asdict(self)


def read(path: Path) -> Metrics:
    """Reads a `metrics.json`.

    Raises:
        WorkError: It is missing, or not what `Metrics.as_json` makes.
    """
    try:
        return read_json(path, TypeAdapter(Metrics).validate_python)
    except FileNotFoundError:
        raise WorkError(f"there are no metrics at {path}") from None
