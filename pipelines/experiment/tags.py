"""The tags that an experiment names for its runs in MLflow."""

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from components.tracking.limits import LONGEST_TAG
from elboflow.settings.explain import written
from preprocessing import dates
from preprocessing.sources import Source

_RESERVED = ("elboflow.", "mlflow.")

TagName = Annotated[
    str, written(r"\w[\w.\- /]{0,249}", "be letters, digits, . _ - / and spaces, at most 250, none of . - / first")
]
Tags = dict[TagName, Annotated[str, Field(max_length=LONGEST_TAG)]]


def unfit_tags(tags: Mapping[str, str], source: Source) -> Iterator[tuple[str, str]]:
    """Yields the tags that runs cannot have, and why: a run has a date as far as the locations of its data have one."""
    for name, text in tags.items():
        if name.startswith(_RESERVED):
            yield name, f"names that begin with {' or '.join(_RESERVED)} are written by ELBOflow and by MLflow"
        try:
            dates.check(text)
        except ValueError as error:
            yield name, str(error)
            continue
        if dates.is_dated(text) and not source.is_dated:
            yield name, f"'{text}' has a date, and data.source has no {{date}}: its runs have no date of their own"
        elif dates.has_time(text) and not any(map(dates.has_time, source.locations.values())):
            yield name, f"'{text}' has a time of the day, and the dates in data.source have none"
