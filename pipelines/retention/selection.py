"""What of a workspace is taken, and what is kept although its settings would not keep it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from elboflow.artifacts import DamagedError, lock
from pipelines.retention.folders import A_DAY, folders, last_written
from pipelines.retention.needed import Runs, Versions, at_work, read_from
from pipelines.schedules.database import FILE as SCHEDULES
from pipelines.schedules.database import FOLDER as TICKS
from pipelines.schedules.launch import LOCK as TICK_LOCK
from pipelines.schedules.store import Store
from pipelines.targets.local import sweep
from pipelines.targets.local.artifacts import KEPT
from pipelines.workspace import Keep, Workspace

Kind = Literal["run", "sweep", "tick", "dataset", "checkpoints", "fetched", "reproduced", "leftover"]


@dataclass(frozen=True)
class Item:
    """What is taken: a folder or a file, by its place in the workspace, and the bytes of its files."""

    kind: Kind
    path: Path
    bytes: int = 0


def selected(workspace: Workspace, keep: Keep, needed: Versions) -> tuple[list[Item], tuple[str, ...]]:
    """Returns what is taken, and why something is kept that the settings would not keep, in sentences."""
    runs, kept = Runs.of(workspace), list[str]()
    busy = at_work(runs, workspace)
    of_runs = _runs_to_keep(runs, keep, needed, busy, workspace)
    taken = [Item("run", folder) for folder in runs.records if folder not in of_runs]
    if needed.unknown:
        kept.append(f"runs recorded in {', '.join(sorted(needed.unknown))}, which could not be asked for its versions")
    items = [*taken, *_leftovers(workspace)]
    unfinished = {item.path for item in items}
    if keep.runs is not None:
        begun = [record.created.timestamp() for folder, record in runs.records.items() if folder in of_runs]
        items += _checkpoints(workspace, begun)
        names = {folder.name for folder in (*of_runs, *runs.others)}
        items += [*_sweeps(workspace, names), *_ticks(workspace, keep.runs, names)]
        items += _by_hand("fetched", workspace.fetched, keep.runs)
        items += _by_hand("reproduced", workspace.reproduced, keep.runs)
    if keep.datasets == "referenced":
        used = _datasets_used([*of_runs, *runs.others], busy, workspace)
        if used is None:
            kept.append("all datasets: a run is at work, or a record is damaged, that does not say which it reads")
        else:
            items += [
                Item("dataset", folder)
                for folder in folders(workspace.datasets)
                if folder.name not in used | needed.datasets and folder not in unfinished
            ]
    return items, tuple(kept)


def _runs_to_keep(runs: Runs, keep: Keep, needed: Versions, busy: set[Path], workspace: Workspace) -> set[Path]:
    if keep.runs is None:
        return set(runs.records)
    found = runs.newest(keep.runs) | busy
    for folder, record in runs.records.items():
        if record.run in needed.runs or record.tracking_uri in needed.unknown:
            found.add(folder)
    waiting = [*found, *runs.others]
    while waiting:  # a run that went on from another reads what stands in the other's folder
        for name in read_from(waiting.pop(), workspace.runs.name) or ():
            other = workspace.runs / name
            if other in runs.records and other not in found:
                found.add(other)
                waiting.append(other)
    return found


def _datasets_used(folders: list[Path], busy: set[Path], workspace: Workspace) -> set[str] | None:
    """Returns the names of the datasets that runs read; None where one of them does not say which."""
    used: set[str] = set()
    for folder in folders:
        found = read_from(folder, workspace.datasets.name)
        if found is None or (folder in busy and not (folder / "preprocess" / KEPT).is_file()):
            return None
        used |= found
    return used


def _checkpoints(workspace: Workspace, begun: list[float]) -> list[Item]:
    """Returns the checkpoints that were last written before the oldest run that is kept began."""
    oldest = min([*begun, time.time() - A_DAY])
    return [
        Item("checkpoints", folder)
        for folder in folders(workspace.checkpoints)
        if not lock.is_held(folder.with_name(f"{folder.name}.lock")) and last_written(folder) < oldest
    ]


def _sweeps(workspace: Workspace, kept: set[str]) -> Iterator[Item]:
    """Yields the sweeps that came to their end, whose runs are not kept: their trials, and the study of a search."""
    for folder in folders(workspace.sweeps):
        try:
            state = sweep.state_of(folder)
        except DamagedError:  # the same sweep says so when it is asked for again
            continue
        if state is None or state.status != "succeeded" or state.run in kept:
            continue
        if not lock.is_held(folder / sweep.LOCK):
            yield Item("sweep", folder)


def _ticks(workspace: Workspace, count: int, kept: set[str]) -> Iterator[Item]:
    """Yields the folders of ticks but the newest of each schedule, those of kept runs, and those at work.

    The records of the ticks stay in the database.
    """
    found = {schedule: folders(schedule)[:-count] for schedule in folders(workspace.folder / TICKS)}
    if not any(found.values()) or not (workspace.folder / SCHEDULES).is_file():
        return
    with Store(workspace.folder) as store:  # is read after the folders were listed, which ticks make once they are open
        for schedule, older in found.items():
            needed = {tick.key.folder for tick in store.open_ticks(schedule.name)}
            needed |= {tick.key.folder for tick in store.ran(schedule.name) if tick.run in kept}
            for folder in older:
                if folder.name not in needed and not lock.is_held(folder / TICK_LOCK):
                    yield Item("tick", folder)


def _by_hand(kind: Kind, of: Path, count: int) -> Iterator[Item]:
    """Yields what commands by hand fetched or made again: all but the newest, and nothing of the last day."""
    newest = sorted(folders(of), key=last_written, reverse=True)
    for folder in newest[count:]:
        if not lock.is_held(folder) and last_written(folder) < time.time() - A_DAY:
            yield Item(kind, folder)


def _leftovers(workspace: Workspace) -> Iterator[Item]:
    """Yields what killed writes left, and no process is at any more."""
    before = time.time() - A_DAY
    for dataset in folders(workspace.datasets):
        attempts = list(dataset.glob(".attempt-*"))
        unfinished = not (dataset / "dataset.json").exists() and not any(map(lock.is_held, attempts))
        if unfinished and not lock.is_held(dataset) and last_written(dataset) < before:
            yield Item("leftover", dataset)
        else:
            yield from (
                Item("leftover", each) for each in attempts if not lock.is_held(each) and last_written(each) < before
            )
    for below in ("", "*/*/", "*/*/*/"):
        for file in workspace.folder.glob(f"{below}.*.unfinished"):
            if file.is_file() and not file.is_relative_to(workspace.model_files) and last_written(file) < before:
                yield Item("leftover", file)
