"""Raw data: one file per kind of source. Each turns a place into work units, and a work unit into batches of arrays.

A new kind of source is a settings class in `preprocessing/config.py`, a file here with a class of the shape of `Raw`,
and a line in `open_source`.
"""

from preprocessing.config import DataConfig, IdxSource, NpzSource
from preprocessing.sources.raw import Batch, Raw, Unit

__all__ = ["Batch", "Raw", "Unit", "check", "open_source"]


def open_source(config: DataConfig) -> Raw:
    """Returns the raw data that a config names, without reading any of it.

    Raises:
        RequestError: The source needs a file that does not exist.
    """
    source = config.source
    if isinstance(source, IdxSource):
        from preprocessing.sources.idx import Idx

        return Idx.find(source, config.features)
    if isinstance(source, NpzSource):
        from preprocessing.sources.npz import Npz

        return Npz.find(source, config.features)
    from preprocessing.sources.sklearn import Embedded

    return Embedded(source.dataset, tuple(config.features))


def check(config: DataConfig) -> None:
    """Checks, before anything runs, that the files of the source exist.

    Raises:
        RequestError: One of them does not.
    """
    raw = open_source(config)
    if "source" in config.splits.values():
        raw.require_held_out()
