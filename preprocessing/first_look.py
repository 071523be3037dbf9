"""A look at raw data before anything runs: their headers, the names of their classes, and the first examples."""

from dataclasses import dataclass

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from preprocessing import vocabulary
from preprocessing.config import DataConfig
from preprocessing.extent import LEAST_USE, advice
from preprocessing.quantise import UnfitError, quantise, raw_images
from preprocessing.sources import check, open_source


@dataclass(frozen=True)
class FirstLook:
    """What a first look found, where nothing stops a run.

    Attributes:
        found: What is there, in a sentence.
        doubts: For each image feature that the first examples hardly use the range of, what to write.
    """

    found: str
    doubts: tuple[str, ...]


def first_look(config: DataConfig) -> FirstLook:
    """Reads what it takes to see whether raw data are what a config says: not the data.

    Raises:
        RequestError: A file does not exist, or cannot be reached.
        WorkError: The headers, the labels' names or the first examples are damaged or unfit.
    """
    check(config)
    raw = open_source(config)
    units = raw.units()
    names = vocabulary.find(config)
    batch = next((batch for unit in units for batch in raw.read(unit)), None)
    if batch is None:
        raise WorkError(f"{raw.describe()}: the source is empty")
    images = raw_images(batch, config)
    extents = {name: extent for name, image in images.items() if (extent := image.extent()) is not None}
    try:
        columns = quantise(batch, images, config, names)
    except UnfitError as error:
        feature, extent = config.images[error.feature], extents[error.feature]
        raise WorkError(f"{error}; of the first examples {extent}: {advice(error.feature, feature, extent)}") from None
    doubts = [
        f"of the first examples {extent}; {advice(name, config.images[name], extent)}"
        for name, extent in extents.items()
        if extent.use_of(config.images[name]) < LEAST_USE
    ]
    looked_at = counted(len(next(iter(columns.values()))), "example")
    examples = counted(sum(unit.count for unit in units), "example")
    return FirstLook(f"{raw.describe()}: {examples}; the first {looked_at} fit the experiment", tuple(doubts))
