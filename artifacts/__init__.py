"""Self-describing folders that become visible by one atomic step.

Everything between two pipeline steps is such a folder: data files, and a manifest `NAME.json` that lists each file
with its size and SHA-256. The manifest is written last, by rename, so that a folder without one is not an artifact.
"""

from artifacts.folder import commit, copy, damage, load, sha256, withdraw, write_atomically

__all__ = ["commit", "copy", "damage", "load", "sha256", "withdraw", "write_atomically"]
