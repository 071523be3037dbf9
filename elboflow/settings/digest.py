"""The digest of settings: SHA-256 of canonical JSON without default values.

A new setting does not change existing digests, because values at their default are left out. A changed default changes
the meaning of existing digests, so it needs a new version of the format that contains the digest.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def digest(values: Any) -> str:
    """Returns the SHA-256, in hexadecimal, of JSON values and settings.

    The order of keys has no effect. 1 and 1.0 are equal.
    """
    text = json.dumps(canonical(values), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(values: Any) -> Any:
    """Returns settings as JSON values, without values at their default; `kind` is always kept."""
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
