"""What starts a run besides a cron: another experiment's success, or other data. Written where a cron would stand.

after digits
changed every 15 min
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

_AFTER = re.compile(r"after ([a-z][a-z0-9-]*)")
_CHANGED = re.compile(r"changed every ([1-9][0-9]{0,4}) (min|h)")
EVERY = r"every [1-9][0-9]{0,4} (min|h)"


@dataclass(frozen=True)
class After:
    """A run for each success of another experiment."""

    experiment: str


@dataclass(frozen=True)
class Changed:
    """A run whenever the files of the source are others, which are looked at so often."""

    every: timedelta


def parsed(text: str) -> After | Changed | None:
    """Returns the trigger that stands in the place of a cron; None for a cron."""
    if (after := _AFTER.fullmatch(text)) is not None:
        return After(after[1])
    if (changed := _CHANGED.fullmatch(text)) is not None:
        number = int(changed[1])
        return Changed(timedelta(minutes=number) if changed[2] == "min" else timedelta(hours=number))
    return None


def circle(after: Mapping[str, set[str]]) -> list[str] | None:
    """Returns experiments that wait for each other in a circle; None where there are none.

    Args:
        after: The experiments whose successes start an experiment, by its name.
    """

    def path_to(target: str, path: list[str]) -> list[str] | None:
        for before in sorted(after.get(path[-1], ())):
            if before == target:
                return [*path, target]
            if before not in path and (found := path_to(target, [*path, before])) is not None:
                return found
        return None

    return next((found for name in sorted(after) if (found := path_to(name, [name])) is not None), None)
