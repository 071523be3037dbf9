"""The small files in which a workspace keeps its state: whether any is damaged."""

from collections.abc import Iterator
from pathlib import Path

from elboflow.artifacts import read_json
from elboflow.settings import WorkError
from elboflow.settings.text import counted
from pipelines.connect import MEMORY
from pipelines.doctor import Finding
from pipelines.targets.local import record

MOST = 3
"""Damaged files that are named."""


def state(workspace: Path) -> Iterator[Finding]:
    """Looks at the records of runs and sweeps, and at what is remembered of platforms; says nothing where none are."""
    runs = [path.parent for path in workspace.glob(f"runs/*/{record.FILE}")]
    ill = []
    for folder in runs:
        try:
            record.read(folder)
        except WorkError as error:
            ill.append(str(error))
    for path in [*workspace.glob("sweeps/*/sweep.json"), workspace / MEMORY]:
        try:
            read_json(path, dict)
        except FileNotFoundError:
            continue
        except WorkError as error:
            ill.append(str(error))
    if not ill:
        if runs:
            yield Finding("records", "well", f"{counted(len(runs), 'run')} here, none damaged")
        return
    more = f"; {len(ill) - MOST:,} more" if len(ill) > MOST else ""
    mend = "restore the file from a copy, or remove it: what the steps made is kept in other files"
    yield Finding("records", "ill", "; ".join(ill[:MOST]) + more, mend)
