"""The main job on the embedded digits: seconds of the whole, and of each step's import, work and waiting.

    python -m benchmarks.main_job [--quick] [--json FILE]

`elboflow run digits` is timed as a person would time it, in a fresh workspace and once more in the same. A third run,
in another fresh workspace, has its steps report their imports (PYTHONPROFILEIMPORTTIME, which costs a little) and is
split: `import` is the time inside import statements, `work` the rest of the step's function, and `waiting` what passes
before and after it: KFP, the start of the process and its end.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, options, publish

TOTAL_TARGET = 60.0
HELP_TARGET = 1.0
QUICK = ("--set", "training.epochs=2", "--set", "evaluation.bound_samples=20")

_EXECUTOR = re.compile(r"\[KFP Executor (.{19}),(\d{3}) ")
_IMPORT = re.compile(r"import time:\s+(\d+) \|")


def main() -> None:
    """Runs the benchmark from the command line."""
    arguments = options(__doc__, quick="few epochs, and the split run only", data=False)
    figures = [Figure("elboflow --help, median of 5", _help(), "s", HELP_TARGET, at_most=True)]
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.quick:
            for name in ("in a fresh workspace", "again, in the same"):
                wall, _ = _run(Path(folder) / "plain")
                figures.append(Figure(f"elboflow run digits, {name}", wall, "s", TOTAL_TARGET, at_most=True))
        split = _run(Path(folder) / "split", *(QUICK if arguments.quick else ()), PYTHONPROFILEIMPORTTIME="1")
        figures += _split(Path(folder) / "split", *split)
    publish(figures, arguments.json)


def _help() -> float:
    seconds = []
    for _ in range(5):
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "pipelines", "--help"], check=True, capture_output=True)
        seconds.append(time.monotonic() - started)
    return statistics.median(seconds)


def _run(workspace: Path, *options: str, **environment: str) -> tuple[float, dict[str, Any]]:
    """Runs the main job; returns its wall time, seen from outside, and its result."""
    command = [sys.executable, "-m", "pipelines", "run", "digits", "--workspace", str(workspace), "--json", *options]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env={**os.environ, **environment})
    wall = time.monotonic() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return wall, json.loads(done.stdout.splitlines()[-1])


def _split(workspace: Path, wall: float, result: dict[str, Any]) -> list[Figure]:
    figures = []
    steps = {step: seconds for step, seconds in result["seconds"].items() if step != "total"}
    for step, seconds in steps.items():
        importing, inside = _inside((workspace / "runs" / result["run"] / step / "log.txt").read_text(encoding="utf-8"))
        figures += [
            Figure(f"{step}: import", importing, "s"),
            Figure(f"{step}: work", inside - importing, "s"),
            Figure(f"{step}: waiting", seconds - inside, "s"),
        ]
    figures.append(Figure("outside the steps: waiting", wall - sum(steps.values()), "s"))
    return figures


def _inside(log: str) -> tuple[float, float]:
    """Returns the seconds that a step's function spent in imports, and in all, from the log of its process."""
    moments = [datetime.fromisoformat(found[1]).timestamp() + int(found[2]) / 1000 for found in _EXECUTOR.finditer(log)]
    _, _, function = log.partition("[KFP Executor ")
    importing = sum(int(found[1]) for found in _IMPORT.finditer(function)) / 1e6
    return importing, moments[-1] - moments[0]


if __name__ == "__main__":
    main()
