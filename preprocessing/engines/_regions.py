"""The regions of Google Cloud: one that does not exist is refused before anything is sent."""

from functools import cache
from importlib import resources
from typing import Literal

from pydantic import AfterValidator

from elboflow.settings.explain import nearest

Product = Literal["Vertex AI", "Dataflow"]


@cache
def regions(product: Product) -> tuple[str, ...]:
    """Returns the names of all regions of a product."""
    import yaml

    table = yaml.safe_load(resources.files("preprocessing.engines").joinpath("regions.yaml").read_text("utf-8"))
    return tuple(table["vertex"] if product == "Vertex AI" else sorted(table["vertex"] + table["others"]))


def region_of(product: Product) -> AfterValidator:
    """Returns a validator of a setting that is a region of a product."""

    def check(region: str) -> str:
        if region not in regions(product):
            raise ValueError(f"'{region}' is no region of {product}; {nearest(region, regions(product))}")
        return region

    return AfterValidator(check)
