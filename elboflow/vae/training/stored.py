"""Checkpoints on disk: each is an artifact folder in the checkpoint folder of a training.

    checkpoints/
      step-000001234/
        state.npz         the arrays
        state.json        the fingerprint of the training, its step, curves, …
        checkpoint.json   size and SHA-256 of both; written last, by rename: without it there is no checkpoint

The commit renames a file and not a folder, because mounted buckets cannot rename folders. All files are synced to disk
before the commit, so that a checkpoint is complete or absent also after a power failure.
"""

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import NonNegativeInt

from elboflow import artifacts
from elboflow.artifacts.arrays import read_arrays
from elboflow.settings import WorkError
from elboflow.vae.training.state import State

MANIFEST, _ARRAYS, _FACTS = "checkpoint", "state.npz", "state.json"
_NAME = re.compile(r"step-(\d{9,})")


class Facts(artifacts.Described):
    """The content of `checkpoint.json`. The format version also covers `state.json`."""

    step: NonNegativeInt


FORMAT = artifacts.Format(
    MANIFEST,
    Facts,
    upgrades=(artifacts.checksum_added, None),  # from format 2 to 3: state.json
    holds=frozenset({_ARRAYS, _FACTS}),
)
_FIRST_NAMED = 3
_MEASURES = ("loss", "reconstruction", "kl", "gradient_norm")
"""The measures of the sums in formats 1 and 2, in order. Further sums are ignored."""


class DamagedError(Exception):
    """A checkpoint is damaged, or from a newer version; the message has the reason."""


@dataclass(frozen=True)
class Contents:
    """The contents of a checkpoint, which do not change while the training continues."""

    step: int
    facts: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


def write(folder: Path, contents: Contents) -> Path:
    """Writes a checkpoint into the checkpoint folder of a training; returns the folder of the checkpoint.

    Raises:
        OSError: The write failed; partial files have been removed.
    """
    path = folder / _name(contents.step)
    if path.exists():
        discard(path)
    try:
        path.mkdir(parents=True)
        with open(path / _ARRAYS, "wb") as file:
            np.savez(file, allow_pickle=False, **contents.arrays)
            file.flush()
            os.fsync(file.fileno())
        artifacts.write_atomically(path / _FACTS, json.dumps(contents.facts) + "\n")
        _sync(path)
        artifacts.commit(path, MANIFEST, {"format": FORMAT.newest, "step": contents.step}, [_ARRAYS, _FACTS])
        _sync(path)
        _sync(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            discard(path)
        raise
    return path


def read(path: Path) -> tuple[dict[str, Any], State]:
    """Reads a checkpoint; returns the fingerprint of its training, and the state.

    Raises:
        DamagedError: The checkpoint is damaged, or from a newer version.
    """
    try:
        manifest = artifacts.read(path, FORMAT)
        if path.name != _name(manifest.step):
            raise DamagedError(f"its manifest says step {manifest.step}")
        if damage := artifacts.damage(path, manifest.files):
            raise DamagedError(damage)
        facts = json.loads((path / _FACTS).read_text(encoding="utf-8"))
        if manifest.format < _FIRST_NAMED:
            facts = _with_named_sums(facts)
        arrays = read_arrays(path / _ARRAYS, (path / _ARRAYS).stat().st_size)  # nothing in it is compressed
        return facts["identity"], State.of(facts, arrays)
    except (WorkError, OSError) as error:
        raise DamagedError(str(error)) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedError(f"its content cannot be read ({type(error).__name__}: {error})") from None


def _with_named_sums(facts: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of a `state.json` of format 1 or 2, a list without names, with sums by name."""
    sums = dict(zip(_MEASURES, facts["sums"]["totals"], strict=False))
    totals = sums | {"elbo": sums["reconstruction"] - sums["kl"]}
    return {**facts, "sums": {**facts["sums"], "totals": totals}}


def found(folder: Path) -> list[Path]:
    """Returns the checkpoints of a training, the newest first."""
    return [path for path in all_of(folder) if (path / f"{MANIFEST}.json").exists()]


def all_of(folder: Path) -> list[Path]:
    """Returns the checkpoints of a training, finished or not, the newest first."""
    return sorted((path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)), key=step, reverse=True)


def step(path: Path) -> int:
    """Returns the step of a checkpoint, from its folder name."""
    return int(path.name.removeprefix("step-"))


def clean(folder: Path) -> None:
    """Removes incomplete checkpoints, which a kill during a write or a removal has left."""
    finished = found(folder)
    for path in all_of(folder):
        if path not in finished:
            discard(path)


def discard(path: Path) -> None:
    """Removes a checkpoint, its manifest first, so that a kill in between does not leave a damaged checkpoint."""
    (path / f"{MANIFEST}.json").unlink(missing_ok=True)
    shutil.rmtree(path)


def set_aside(folder: Path) -> Path:
    """Renames the checkpoint folder of a training to the first free `NAME.before-N`, and returns the new path."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    shutil.move(folder, aside)  # copies if the file system cannot rename folders
    return aside


def _name(step: int) -> str:
    return f"step-{step:09d}"


def _sync(folder: Path) -> None:
    """Syncs the entries of a folder to disk, if the file system supports it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF):
            raise
    finally:
        os.close(handle)
