"""`elboflow clean`: a workspace loses what it need not keep."""

import json
from collections import Counter
from typing import Annotated

import typer

from elboflow.settings import RequestError
from pipelines.commands.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from pipelines.commands.outcome import tell

_NAMES = {
    "run": ("run", "runs"),
    "sweep": ("sweep", "sweeps"),
    "tick": ("folder of a tick", "folders of ticks"),
    "fetched": ("fetched run", "fetched runs"),
    "reproduced": ("reproduced version", "reproduced versions"),
    "dataset": ("dataset", "datasets"),
    "checkpoints": ("set of checkpoints", "sets of checkpoints"),
    "leftover": ("leftover", "leftovers"),
}


def clean(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove old runs and datasets as `keep` in workspace.yaml says, and the leftovers of killed processes.

    Never removed: active runs; runs that an unfinished sweep or tick continues; the runs and datasets of versions that
    have an alias or were the champion; MLflow's own files.
    """
    from elboflow.settings.text import counted
    from pipelines.commands.workspaces import found
    from pipelines.retention import clean as cleaned
    from pipelines.workspace import SETTINGS, Keep

    if not workspace.is_dir():
        raise RequestError(f"--workspace {workspace}: there is no such folder")
    place = found(workspace)
    keep = place.settings.keep
    done = cleaned(place, keep or Keep(), dry_run=dry_run)
    if as_json:
        items = [
            {"kind": item.kind, "path": str(item.path.relative_to(place.folder)), "bytes": item.bytes}
            for item in done.items
        ]
        print(json.dumps({"dry_run": dry_run, "bytes": done.bytes, "items": items, "kept": list(done.kept)}))
        return
    for item in done.items:
        print(f"{item.kind:<11}  {_written(item.bytes):>9}  {item.path.relative_to(place.folder)}")
    for sentence in done.kept:
        tell(f"kept: {sentence}")
    counts = Counter(item.kind for item in done.items)
    listed = ", ".join(counted(count, *_NAMES[kind]) for kind, count in counts.items()) or "nothing"
    tell(f"{'would remove' if dry_run else 'removed'} {listed}: {_written(done.bytes)}")
    if keep is None:
        setting = "keep: {runs: 30, datasets: referenced}"
        tell(f"all runs and datasets are kept, unless {place.folder / SETTINGS} says otherwise: {setting}")


def _written(count: int) -> str:
    """Returns an amount of bytes for a person."""
    amount, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
