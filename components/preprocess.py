"""Raw data → dataset/."""

from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.config import DataConfig
from preprocessing.engines import Engine
from preprocessing.engines.direct import Direct

if TYPE_CHECKING:
    from preprocessing.pipeline import Preprocessed

_DIRECT = Direct()


def preprocess(
    data: DataConfig, output: Path | str, digest: str | None = None, runner: Engine = _DIRECT
) -> "Preprocessed":
    """Makes the dataset folder of the section `data`, or finds it made already.

    Args:
        data: Source, features, splits.
        output: The dataset folder, on this machine or as a URI.
        digest: The digest that the dataset must have (`preprocessing.pipeline.dataset_digest`), if it is known.
        runner: Where the Beam graph runs; it does not change what is written.

    Returns:
        The dataset's folder and manifest, and whether it was there before.

    Raises:
        RequestError: A file of the source does not exist, or the folder cannot be written to, or one of them cannot be
            reached from where the runner's workers are.
        WorkError: The data are damaged or unfit, and the folder then holds no manifest; or they are not of that digest.
    """
    from preprocessing import pipeline

    return pipeline.preprocess(data, output, digest, runner)
