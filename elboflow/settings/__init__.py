"""What every room's configuration is made of: frozen settings, choices by name, and errors for people.

A room states its own section of the experiment as `Settings`. A field that offers several kinds of a thing is a
union of settings that carry their `kind`:

    Encoder = Annotated[MLP | Convolutional, Field(discriminator="kind"), BeforeValidator(by_name)]

and may then be written `mlp` or `{kind: mlp, hidden: [256, 256]}`. A section that is mostly about one of its keys says
so, and may then be written as the value of that key: `10` for `{patience: 10}`.
"""

from typing import TYPE_CHECKING, Any

from elboflow.settings.annotations import PossiblyEmpty
from elboflow.settings.errors import RequestError, WorkError

if TYPE_CHECKING:
    from elboflow.settings.base import Settings, by_name, by_name_or

__all__ = ["PossiblyEmpty", "RequestError", "Settings", "WorkError", "by_name", "by_name_or"]


def __getattr__(name: str) -> Any:
    """Imports pydantic with the first settings only: `elboflow --help` needs errors and variables, and no settings."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from elboflow.settings import base

    return getattr(base, name)
