"""The small files in which a workspace keeps its state: whether any is damaged."""

from collections.abc import Callable, Iterator
from pathlib import Path

from elboflow.artifacts import read_json
from elboflow.settings import WorkError
from elboflow.settings.text import counted
from pipelines.connect import MEMORY
from pipelines.targets.checks import Finding
from pipelines.targets.local import record

MOST = 3
"""Damaged files that are named."""


def records(workspace: Path) -> Iterator[Finding]:
    """Reads the records of runs and sweeps, and what is remembered of platforms; says nothing where there are none."""
    runs, damaged = list(workspace.glob(f"runs/*/{record.FILE}")), []
    readers: list[tuple[Callable[[Path], object], Path]] = [(record.read, path.parent) for path in runs]
    readers += [(_json, path) for path in (*workspace.glob("sweeps/*/sweep.json"), workspace / MEMORY)]
    for read, path in readers:
        try:
            read(path)
        except FileNotFoundError:
            continue
        except WorkError as error:
            damaged.append(str(error))
    if damaged:
        more = f"; {len(damaged) - MOST:,} more" if len(damaged) > MOST else ""
        mend = "restore the file from a copy, or remove it: what the steps made is kept in other files"
        yield Finding("records", "ill", "; ".join(damaged[:MOST]) + more, mend)
    elif runs:
        yield Finding("records", "well", f"{counted(len(runs), 'run')} here, none damaged")


def _json(path: Path) -> object:
    return read_json(path, dict)
