"""Google's list filters (AIP-160), as far as clients of ours use them: `a="x" AND labels.b:* AND create_time>"…"`."""

import operator
import re
from collections.abc import Callable
from typing import Any

_CLAUSE = re.compile(r"""([\w.\-]+)\s*(!=|>=|<=|=|>|<|:)\s*("(?:[^"\\]|\\.)*"|[^\s()"]+)""")
_AND = re.compile(r"AND\s+")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip


def matcher(text: str, fields: dict[str, Callable[[Any], Any]], labels: Callable[[Any], dict[str, str]]) -> Any:
    """Returns a predicate.

    Args:
        text: The filter.
        fields: How to get each field that may be filtered by.
        labels: How to get the labels.

    Raises:
        ValueError: The filter is malformed, or names another field.
    """
    clauses = []
    rest = text.strip()
    while rest:
        found = _CLAUSE.match(rest)
        if found is None:
            raise ValueError(f"Invalid filter: {text}")
        name, sign, value = found[1], found[2], found[3].strip('"')
        if not name.startswith("labels.") and name not in fields:
            raise ValueError(f"Invalid filter: field {name!r} cannot be filtered by")
        clauses.append((name, sign, value))
        rest = rest[found.end() :].strip()
        if rest:
            joined = _AND.match(rest)
            if joined is None:
                raise ValueError(f"Invalid filter: {text}")
            rest = rest[joined.end() :]

    def matches(resource: Any) -> bool:
        for name, sign, value in clauses:
            label = name.removeprefix("labels.") if name.startswith("labels.") else None
            have = labels(resource).get(label) if label is not None else fields[name](resource)
            if sign == ":":
                if have is None or (value != "*" and value not in str(have)):
                    return False
            elif have is None or not _COMPARE[sign](str(have), value):
                return False
        return True

    return matches
