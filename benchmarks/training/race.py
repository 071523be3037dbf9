"""Runs the sides of a comparison turn by turn, so that other load of the machine slows all of them alike."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Side:
    """One contestant, a program that works in `Turns`.

    Attributes:
        name: What it is called in the table.
        module: The program, a module below `benchmarks.training`.
        arguments: Its command line.
        python: The interpreter that runs it.
        needs: The frameworks that it imports of this environment.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    python: str = sys.executable
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What a race measured of one side.

    Attributes:
        speeds: Examples/s of each round.
        facts: What the side said of itself.
    """

    speeds: tuple[float, ...]
    facts: dict[str, str]


def race(sides: Sequence[Side], rounds: int) -> dict[Side, Result]:
    """Starts all sides, lets each warm up, and then gives each one turn in every round.

    Raises:
        RuntimeError: A side ended; its last words are in the message.
    """
    speeds: dict[Side, list[float]] = {side: [] for side in sides}
    facts: dict[Side, dict[str, str]] = {}
    with contextlib.ExitStack() as stack:
        running = {side: stack.enter_context(_running(side)) for side in sides}
        for side, process in running.items():
            facts[side] = process.turn()[1]
        for number in range(rounds):
            # Forwards and backwards in turn: a machine that slows down or speeds up steadily favours no side.
            for side in list(running)[:: -1 if number % 2 else 1]:
                speeds[side].append(running[side].turn(go=True)[0])
    return {side: Result(tuple(speeds[side]), facts[side]) for side in sides}


class _Running:
    def __init__(self, side: Side, process: subprocess.Popen[str], errors: IO[bytes]) -> None:
        self._side, self._process, self._errors = side, process, errors

    def turn(self, go: bool = False) -> tuple[float, dict[str, str]]:
        """Waits for the end of a turn, and begins it before where `go`; returns examples/s and the side's facts."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it ended: what it said is told below
            if go:
                self._process.stdin.write("go\n")
                self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace")[-4000:]
            raise RuntimeError(f"{self._side.name} ended with {self._process.wait()}:\n{said}")
        report = json.loads(line)
        return report["examples"] / report["seconds"], report["facts"]


@contextlib.contextmanager
def _running(side: Side) -> Iterator[_Running]:
    command = [side.python, "-m", f"benchmarks.training.{side.module}", *side.arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
        ) as process,
    ):
        try:
            yield _Running(side, process, errors)
        finally:
            process.kill()
