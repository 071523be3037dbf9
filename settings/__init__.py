"""What every room's configuration is made of: frozen settings, choices by name, and errors for people.

A room states its own section of the experiment as `Settings`. A field that offers several kinds of a thing is a
union of settings that carry their `kind`:

    Encoder = Annotated[MLP | Convolutional, Field(discriminator="kind"), BeforeValidator(by_name)]

and may then be written `mlp` or `{kind: mlp, hidden: [256, 256]}`.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

from settings.errors import RequestError, WorkError

__all__ = ["RequestError", "Settings", "WorkError", "by_name"]


class Settings(BaseModel):
    """A section of the experiment: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def by_name(value: Any) -> Any:
    """Reads the short form of a choice: `NAME` means `{kind: NAME}`."""
    return {"kind": value} if isinstance(value, str) else value
