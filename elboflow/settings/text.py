"""Numbers and values in sentences."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from elboflow.settings.terminal import one_line


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns a number with its noun: `1 epoch`, `1,442 examples`.

    Args:
        number: How many.
        noun: The singular.
        plural: The plural, where it is not the singular and an s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def short_path(path: Path | str) -> str:
    """Returns a path for a person: relative to the current folder where it is in there, and digests shortened."""
    text = str(path)
    with suppress(ValueError, OSError):  # a URI, or no current folder
        text = str(Path(text).relative_to(Path.cwd()))
    return re.sub("(?<![0-9a-f])([0-9a-f]{32}){1,2}(?![0-9a-f])", lambda digest: f"{digest[0][:8]}…", text)


def short(text: str) -> str:
    """Returns text as it appears in a sentence: not longer than a line."""
    return text if len(text) <= 60 else f"{text[:57]}…"


def shown(value: Any) -> str:
    """Returns a value as YAML would have it on one line, shortened."""
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return short(one_line(text))
