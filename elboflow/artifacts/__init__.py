"""Self-describing folders that become visible by one atomic step.

Everything between two pipeline steps is such a folder: data files, and a manifest `NAME.json` that lists each file
with its size and SHA-256. The manifest is written last, by rename, so that a folder without one is not an artifact.

A folder is not trusted: what its manifest says is checked (`elboflow.artifacts.manifest`), and so are the names that it
lists (`elboflow.artifacts.names`).
"""

from elboflow.artifacts.folder import commit, copy, damage, load, open_whole, read, sha256, withdraw, write_atomically
from elboflow.artifacts.manifest import Described, Files, Format, checksum_added
from elboflow.artifacts.names import open_listed
from elboflow.artifacts.reading import DamagedError, read_json

__all__ = [
    "DamagedError",
    "Described",
    "Files",
    "Format",
    "checksum_added",
    "commit",
    "copy",
    "damage",
    "load",
    "open_listed",
    "open_whole",
    "read",
    "read_json",
    "sha256",
    "withdraw",
    "write_atomically",
]
