"""`elboflow clean`: a workspace keeps what its settings say, and loses the rest.

What is taken is renamed into `.trash/` first, while no run can begin (`Workspace.beginning`), and removed then. A kill
leaves no half folder under its name, and the next call empties `.trash/`.
"""

import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from elboflow.artifacts import lock, temporary
from elboflow.settings import RequestError
from pipelines.retention.folders import size
from pipelines.retention.needed import Runs, versions
from pipelines.retention.selection import Item, selected
from pipelines.schedules.launch import LOCK as TICK_LOCK
from pipelines.targets import ENDED
from pipelines.targets.local import sweep
from pipelines.targets.local.record import LOCK, read
from pipelines.workspace import Keep, Workspace

logger = logging.getLogger("elboflow.retention")

TRASH, ALONE = ".trash", ".clean.lock"
_LOCKED_BY = {"run": LOCK, "sweep": sweep.LOCK, "tick": TICK_LOCK, "dataset": "", "fetched": "", "reproduced": ""}
"""The file in a folder, or the folder itself, that is locked while a process is at it."""


@dataclass(frozen=True)
class Cleaned:
    """What was taken, or would be.

    Attributes:
        items: The items.
        kept: Why something is kept that the settings would not keep, in sentences.
    """

    items: tuple[Item, ...]
    kept: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """The bytes of all."""
        return sum(item.bytes for item in self.items)


def clean(workspace: Workspace, keep: Keep, *, dry_run: bool = False) -> Cleaned:
    """Removes what a workspace need not keep, and returns it.

    Args:
        workspace: The workspace.
        keep: What it keeps.
        dry_run: Whether nothing is removed.

    Raises:
        RequestError: Another such call is at work.
        WorkError: MLflow's database cannot be read; nothing was removed.
    """
    with _alone(workspace):
        needed = versions(workspace, Runs.of(workspace))
        trash = workspace.folder / TRASH
        if not dry_run:
            temporary.remove_dead()
        with workspace.beginning():
            items, kept = selected(workspace, keep, needed)
            places = {item: item.path for item in items}
            if not dry_run:
                places = {item: moved for item in items if (moved := _moved(item, trash)) is not None}
        found = [replace(item, bytes=size(place)) for item, place in places.items()]
        of_a_kill = [place for place in trash.glob("*") if place not in places.values()]
        found += [Item("leftover", place, size(place)) for place in of_a_kill]
        if not dry_run and trash.exists():
            shutil.rmtree(trash, ignore_errors=True)
            if trash.exists():
                kept = (*kept, f"files in {trash} that this user may not remove")
        return Cleaned(tuple(found), kept)


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    held = lock.hold(workspace.folder / ALONE, patience=0)
    if held is None and lock.is_held(workspace.folder / ALONE):
        raise RequestError(f"another `elboflow clean` is at work on {workspace.folder}")
    try:
        yield
    finally:
        if held is not None:  # a file system without locks has none
            os.close(held)


def _moved(item: Item, trash: Path) -> Path | None:
    """Renames what is to be taken into the trash; None where a process is at it, or that is not possible."""
    trash.mkdir(exist_ok=True)
    place = trash / f"{item.path.name.lstrip('.')}-{uuid.uuid4().hex[:8]}"
    guarded = item.path / _LOCKED_BY[item.kind] if item.kind in _LOCKED_BY else None
    held = None if guarded is None else lock.hold(guarded, patience=0)
    try:
        if guarded is not None and held is None and lock.is_held(guarded):
            return None
        if item.kind == "run" and ((record := read(item.path)) is None or record.status not in ENDED):
            return None
        item.path.rename(place)
    except OSError as error:
        logger.warning("%s stays: %s", item.path, error.strerror)
        return None
    finally:
        if held is not None:
            os.close(held)
    return place
