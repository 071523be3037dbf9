"""What files say that were written when every model was one of a single image: how they are read today."""

from typing import Annotated, Any

from pydantic import Field, PositiveInt

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import Settings


class ImageFacts(Settings):
    """The images of a model, as files say it that know no other features."""

    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    levels: Annotated[int, Field(ge=2, le=256)]

    def spec(self, **facts: Any) -> FeatureSpec:
        """Returns them as any feature."""
        return FeatureSpec(kind="image", dtype="uint8", shape=self.shape, levels=self.levels, facts=facts)


def described(facts: dict[str, Any]) -> dict[str, Any]:
    """Returns what a `.keras` file says of its model, in which `spec` has shape and levels of the image."""
    image = ImageFacts.model_validate(facts["spec"])
    return {"config": facts["config"], "features": {facts["config"]["input"]: image.spec()}}


def features_named(facts: dict[str, Any]) -> dict[str, Any]:
    """Upgrades `model.json` of format 2, in which the range of the image is a part of the provenance."""
    provenance = dict(facts["provenance"])
    low, high = provenance.pop("range")
    if not low < high:
        raise ValueError(f"range is [low, high] with low < high, not {[low, high]}")
    image = ImageFacts.model_validate(facts["image"]).spec(range=[low, high])
    kept = {name: value for name, value in facts.items() if name != "image"}
    return {**kept, "provenance": provenance, "features": {facts["model"]["input"]: image.model_dump(mode="json")}}
