"""A command in a child process, and its peak memory."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# A process begins with the memory of the one that starts it, as far as the kernel's count goes: a small one starts it.
_STARTER = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, encoding="utf-8")
print(json.dumps([done.returncode, done.stderr, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3]))
"""


@dataclass(frozen=True)
class Measured:
    """How a command ended.

    Attributes:
        code: Its exit code.
        said: What it wrote to standard error.
        peak: The most memory that it had, in MB.
    """

    code: int
    said: str
    peak: float


def elboflow(*arguments: str | Path) -> Measured:
    """Runs a command to its end."""
    command = [sys.executable, "-m", "pipelines", *map(str, arguments)]
    starter = [sys.executable, "-c", _STARTER, *command]
    return Measured(*json.loads(subprocess.run(starter, stdout=subprocess.PIPE, check=True).stdout))
