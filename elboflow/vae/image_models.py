"""Upgrades of files from versions in which every model had a single image as its only feature."""

from typing import Annotated, Any

from pydantic import Field, PositiveInt

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import Settings


class ImageFacts(Settings):
    """The image of a model in such files."""

    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    levels: Annotated[int, Field(ge=2, le=256)]

    def spec(self, **facts: Any) -> FeatureSpec:
        """Returns the image as a feature spec."""
        return FeatureSpec(kind="image", dtype="uint8", shape=self.shape, levels=self.levels, facts=facts)


def described(facts: dict[str, Any]) -> dict[str, Any]:
    """Upgrades the config in a `.keras` file, in which `spec` has the shape and the levels of the image."""
    image = ImageFacts.model_validate(facts["spec"])
    return {"config": facts["config"], "features": {facts["config"]["input"]: image.spec()}}


def features_named(facts: dict[str, Any]) -> dict[str, Any]:
    """Upgrades `model.json` of format 2, in which the provenance contains the range of the image."""
    provenance = dict(facts["provenance"])
    low, high = provenance.pop("range")
    if not low < high:
        raise ValueError(f"range is [low, high] with low < high, not {[low, high]}")
    image = ImageFacts.model_validate(facts["image"]).spec(range=[low, high])
    kept = {name: value for name, value in facts.items() if name != "image"}
    return {**kept, "provenance": provenance, "features": {facts["model"]["input"]: image.model_dump(mode="json")}}
