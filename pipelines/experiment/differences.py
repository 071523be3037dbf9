"""The changes by an environment or `--set`: for each key, the value before and after."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from elboflow.settings import RequestError
from elboflow.settings.explain import Path, dotted
from pipelines.experiment import Experiment, load
from pipelines.experiment import text as source
from pipelines.experiment.overrides import ABSENT


@dataclass(frozen=True)
class Difference:
    """A key whose value differs; one of the values may be ABSENT."""

    key: str
    before: Any
    after: Any


def differences(experiment: str, changed: Experiment) -> list[Difference]:
    """Returns the keys whose values differ, in the order of the keys.

    Both experiments have all defaults filled in; one that is invalid without its environment is compared as written.

    Args:
        changed: The same experiment with changes.
    """
    try:
        before = load(experiment).model_dump(mode="json")
    except RequestError:
        before = source.find(experiment).values
    return list(compared(before, changed.model_dump(mode="json")))


def show(found: list[Difference], indent: int = 0) -> None:
    """Prints differences, one line each, in colours on a terminal."""
    from rich.text import Text

    from pipelines.console import make_console

    console = make_console()
    for difference in found:
        before, after = Text(_written(difference.before), "red"), Text(_written(difference.after), "green")
        console.print(Text.assemble(" " * indent, (f"{difference.key}: ", "bold"), before, " → ", after))


def compared(before: Any, after: Any, path: Path = ()) -> Iterator[Difference]:
    """Yields the keys whose values differ, in the order of the second value's keys."""
    if isinstance(before, dict) or isinstance(after, dict):
        was, became = (value if isinstance(value, dict) else {} for value in (before, after))
        if before is not was and not _is_nothing(before):
            yield Difference(dotted(path), before, ABSENT)
        if after is not became and not _is_nothing(after):
            yield Difference(dotted(path), ABSENT, after)
        for key in [*became, *(key for key in was if key not in became)]:
            yield from compared(was.get(key, ABSENT), became.get(key, ABSENT), (*path, str(key)))
    elif before != after and not (_is_nothing(before) and _is_nothing(after)):
        yield Difference(dotted(path), before, after)


def _is_nothing(value: Any) -> bool:
    """Whether a section with this value is absent."""
    return value is ABSENT or value is None


def _written(value: Any) -> str:
    if value is ABSENT:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
