"""The one digest of the house: of canonical JSON without default values, so that a setting added later changes none.

Whoever changes the default of a setting changes what old digests stand for: such a change comes with a new number of
the format that the digest is part of.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def digest(values: Any) -> str:
    """Returns the SHA-256, in hexadecimal, of JSON values and settings.

    The order of keys does not matter; nor does it matter whether a whole number is written as 1 or as 1.0.
    """
    text = json.dumps(canonical(values), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(values: Any) -> Any:
    """Returns JSON values in which settings have no values that equal their defaults, but for their `kind`."""
    if isinstance(values, BaseModel):
        return _without_defaults(values)
    if isinstance(values, Mapping):
        return {str(name): canonical(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [canonical(value) for value in values]
    return int(values) if isinstance(values, float) and values.is_integer() else values


def _without_defaults(settings: BaseModel) -> dict[str, Any]:
    values = dict(settings)
    dumped = settings.model_dump(mode="json")
    return {
        name: canonical(value if isinstance(value, BaseModel | Mapping | list | tuple) else dumped[name])
        for name, value in values.items()
        if name == "kind" or value != _default(settings, name, values)
    }


def _default(settings: BaseModel, name: str, values: dict[str, Any]) -> Any:
    return type(settings).model_fields[name].get_default(call_default_factory=True, validated_data=values)
