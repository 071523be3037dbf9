"""A check of the raw data before a run: the headers and the first examples."""

from dataclasses import dataclass

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from preprocessing.config import DataConfig
from preprocessing.examples import examples_of, reasons_of
from preprocessing.features import ColumnError, Fitted
from preprocessing.raw import Batch
from preprocessing.rejects import check_rejected
from preprocessing.report import Report
from preprocessing.sources import check, open_source


@dataclass(frozen=True)
class FirstLook:
    """The result of a first look without an error.

    Attributes:
        found: The source and the number of its examples, in a sentence.
        doubts: For each feature whose settings fit the first examples badly, a sentence with better settings.
    """

    found: str
    doubts: tuple[str, ...]


def first_look(config: DataConfig) -> FirstLook:
    """Checks raw data against a config from the headers and the first batch alone.

    Raises:
        RequestError: A file does not exist, or cannot be reached.
        WorkError: The headers or the first examples are damaged or unfit.
    """
    check(config)
    raw = open_source(config)
    units = raw.units()
    batch = next((batch for unit in units for batch in raw.read(unit)), None)
    if batch is None:
        raise WorkError(f"{raw.describe()}: the source is empty")
    fitted = _fitted(config, batch)
    read = examples_of(batch, config.features, fitted)
    reasons = reasons_of(read.rejected, 0)
    check_rejected(config, Report(read={"main": read.count}, seen=dict(read.seen), reasons=reasons))
    doubts = [(extent, config.features[name].doubt(name, extent)) for name, extent in sorted(read.seen.items())]
    counts = [unit.examples for unit in units if unit.examples is not None]
    examples = counted(sum(counts), "example") if len(counts) == len(units) else counted(len(units), "work unit")
    looked_at = counted(read.count - len(read.rejected), "example")
    return FirstLook(
        f"{raw.describe()}: {examples}; the first {looked_at} fit the experiment",
        tuple(f"of the first examples {extent}; {doubt}" for extent, doubt in doubts if doubt),
    )


def _fitted(config: DataConfig, batch: Batch) -> dict[str, Fitted]:
    """Returns the fitted features. A feature that must be fitted is fitted on this batch alone."""
    values = examples_of(batch, config.features, {}).values
    found = {}
    for name, feature in config.features.items():
        needs = feature.needs_fit(batch.columns.schema.field(name).type)
        try:
            found[name] = feature.fitted(feature.look(values[name]) if needs else None, name)
        except ColumnError as error:
            raise WorkError(f"{batch.places[name]}: the feature {name!r} {error}") from None
    return found
