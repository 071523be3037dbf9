"""A finished run → MLflow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.config import RegistryConfig


@dataclass(frozen=True)
class Registration:
    """A registered model version.

    Attributes:
        tracking_uri: The MLflow that holds it.
        run_id: The MLflow run.
        model: Name of the registered model.
        version: The version.
        promoted: Whether the alias `champion` moved to this version.
        reason: Why, or why not, with numbers.
    """

    tracking_uri: str
    run_id: str
    model: str
    version: int
    promoted: bool
    reason: str


def register(
    dataset: Path | str,
    model: Path | str,
    evaluation: Path | str,
    registry: RegistryConfig,
    experiment: dict[str, Any],
    run: str,
    tracking_uri: str,
) -> Registration:
    raise NotImplementedError
