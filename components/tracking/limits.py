"""MLflow's limits on the size of what it stores (mlflow.utils.validation), and how values are made to fit."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
LONGEST_PARAM = 6000
LONGEST_DATASET_DIGEST = 36
LONGEST_TAG = 5000  # of older servers; newer ones take 8000
LONGEST_RUN_NAME = 250
LONGEST_NOTE = 5000  # the column of the descriptions of versions and models; the note of a run is a tag


def batches(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yields the values in batches of at most that size."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def shortened(text: str, longest: int) -> str:
    """Returns a text of at most so many characters, which ends in … where something was cut off."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
