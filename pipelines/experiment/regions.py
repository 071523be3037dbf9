"""The regions of Vertex AI. The facts are in `regions.yaml`."""

from functools import cache
from importlib import resources
from typing import Annotated

import yaml
from pydantic import AfterValidator

from elboflow.settings.explain import nearest


@cache
def regions() -> tuple[str, ...]:
    """Returns the names of all regions."""
    text = resources.files("pipelines.experiment").joinpath("regions.yaml").read_text(encoding="utf-8")
    return tuple(yaml.safe_load(text)["vertex"])


def _exists(region: str) -> str:
    if region not in regions():
        raise ValueError(f"'{region}' is no region of Vertex AI; {nearest(region, regions())}")
    return region


Region = Annotated[str, AfterValidator(_exists)]
