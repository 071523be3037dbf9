"""The raw data: whether they are there, and are what the experiment says."""

from pipelines.doctor import Finding
from preprocessing.config import DataConfig
from preprocessing.first_look import first_look
from settings import RequestError, WorkError


def data(config: DataConfig) -> Finding:
    """Looks at the headers of the source and at its first examples."""
    try:
        seen = first_look(config)
    except (RequestError, WorkError) as error:
        return Finding("data", "ill", str(error), "see the message; nothing can be preprocessed before")
    if seen.doubts:
        return Finding("data", "unknown", seen.found, "; ".join(seen.doubts))
    return Finding("data", "well", seen.found)
