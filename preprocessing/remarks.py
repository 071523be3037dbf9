"""What a person should know of a finished dataset before a model is trained on it."""

from preprocessing.config import ImageFeature
from preprocessing.extent import LEAST_USE, Extent, advice, number
from preprocessing.manifest import Image, Manifest, Statistics


def remarks(manifest: Manifest) -> tuple[str, ...]:
    """Returns a sentence for each image feature whose train split leaves nearly all of its range unused.

    Such a range is usually a wrong one: images of 0.0 and 1.0 under [0, 255] are all but black for a model.
    """
    found = []
    for name, statistics in manifest.statistics.items():
        stored = manifest.features[name]
        if not isinstance(stored, Image):
            continue
        feature = ImageFeature(shape=stored.shape, range=stored.range, levels=stored.levels)
        extent = _extent(stored, statistics)
        if (use := extent.use_of(feature)) < LEAST_USE:
            low, high = stored.range
            found.append(
                f"the train split uses {use:.1%} of data.features.{name}.range, [{number(low)}, {number(high)}]: "
                f"{extent}; {advice(name, feature, extent)}"
            )
    return tuple(found)


def _extent(stored: Image, statistics: Statistics) -> Extent:
    low, high = stored.range
    step = (high - low) / (stored.levels - 1)
    ends = statistics.raw or (low + statistics.min * step, low + statistics.max * step)
    return Extent(low=ends[0], high=ends[1], whole=all(float(end).is_integer() for end in ends))
