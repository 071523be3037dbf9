"""The version of the running code: the commit of a checkout, or else the version of the installed package."""

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[2]
_DIRTY = "-dirty"


@cache
def code_version() -> str:
    """Returns the commit of a git checkout, `-dirty` if code was changed or added; elsewhere `elboflow X.Y.Z`."""
    # Only the project's own repository counts: an installed package may lie inside the checkout of another project.
    in_checkout = (_PROJECT / ".git").exists()
    if in_checkout and (commit := _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")):
        # A kind is found by its file, also by one that git does not know yet.
        own = [f"{package}/*.py" for package in ("components", "elboflow", "pipelines", "preprocessing")]
        is_new = not commit.endswith(_DIRTY) and _git("ls-files", "--others", "--exclude-standard", "--", *own)
        return f"{commit}{_DIRTY}" if is_new else commit
    try:
        return f"elboflow {version('elboflow')}"
    except PackageNotFoundError:
        return "unknown"


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(_PROJECT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
