"""How many runs this machine can carry at once: by its cores and memory, or by the limits of its container.

The limits of a container are those of its cgroup and of all parents, in version 1 or 2 of the interface.
"""

import os
from collections.abc import Iterator
from pathlib import Path

CORES = 2
"""Cores for each run: its steps keep one busy; reading, drawing and logging another."""

MEMORY = 4 * 2**30
"""Bytes for each run: that of the smallest example takes 0.6 GB, which data, activations and a larger model add to."""

_ROOT = Path("/")


def slots(root: Path = _ROOT) -> int:
    """Returns how many runs may be active at once: 1 for every 2 cores and 4 GiB, and at least 1."""
    return max(1, min(int(cores(root) / CORES), memory(root) // MEMORY))


def cores(root: Path = _ROOT) -> float:
    """Returns the cores that this process may use."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [float(mine)]
    for folder in _cgroups(root, "cpu"):
        words = _words(folder / "cpu.max") or _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(words) == 2 and all(map(_is_limit, words)):
            limits.append(int(words[0]) / int(words[1]))
    return min(limits)


def memory(root: Path = _ROOT) -> int:
    """Returns the bytes of memory that this process may use."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder in _cgroups(root, "memory"):
        for file in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limits += [int(word) for word in _words(folder / file)[:1] if _is_limit(word)]
    return min(limits)


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Yields the cgroup of this process and those that it lies in, the innermost first."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / (controller if controllers else "")
        # Seen from within a container, the path may be the host's: then only the outermost folder is there.
        names = [] if ".." in path else path.strip("/").split("/")
        yield from (base.joinpath(*names[:depth]) for depth in range(len(names), -1, -1))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return []


def _is_limit(word: str) -> bool:
    return word.isascii() and word.isdecimal() and int(word) > 0  # `max` and -1 are none
