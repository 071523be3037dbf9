"""The section `registry` of an experiment."""

from typing import Annotated

from pydantic import Field

from settings import Settings


class RegistryConfig(Settings):
    """Where a model is registered in MLflow, and how sure one must be that it is better than the one in production."""

    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9_. -]{1,200}$")] | None = Field(
        None, description="name of the registered model; by default the experiment's name and `-vae`"
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        0.95, description="of the paired interval that must lie above zero before the alias `champion` moves"
    )
