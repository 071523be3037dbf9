"""The process of one tick, `python -m pipelines.schedules.tick WORKSPACE SCHEDULE TIME`: claims, runs and records it.

A tick runs once, even if this process is started several times: one SQL statement turns it from `claimed` to `running`,
and the run comes after it.
"""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from elboflow.artifacts import child, write_atomically
from elboflow.artifacts.lock import hold
from elboflow.settings import WorkError
from elboflow.settings.variables import NEW_RUN
from elboflow.settings.zones import zone
from pipelines.schedules.launch import LOCK, LOG, RESULT, tick_folder, tick_outcome
from pipelines.schedules.states import Key, Schedule, absent, is_dated
from pipelines.schedules.store import Store
from pipelines.targets.local.client import new_name
from preprocessing import dates

SOURCE = "experiment.yaml"
"""The experiment as it ran. It is JSON, which is YAML."""


def main(workspace: Path, key: Key) -> None:
    """Runs a tick, unless another process runs it or has run it."""
    folder = tick_folder(workspace, key)
    lock = hold(folder / LOCK)
    if lock is None:
        return
    with Store(workspace) as store:
        schedule = store.schedule(key.schedule)
        if schedule is None or (run := claim(store, key, schedule.name)) is None:
            return
        date = store.dates(schedule.id).get(key)
    try:
        experiment = experiment_of(schedule, key, date)
        exit_code = _run(workspace, folder, schedule, experiment, run, lock)
        state, reason = tick_outcome(folder, exit_code)
    except (OSError, WorkError) as error:
        exit_code, state, reason = None, "failed", f"it could not be run: {error}"
    with Store(workspace) as store:
        store.turn(key, "running", state, ended=datetime.now(UTC), exit_code=exit_code, reason=reason)


def claim(store: Store, key: Key, name: str) -> str | None:
    """Turns a claimed tick into one of this process. Returns its run; None if it ran, or its schedule was deleted."""
    run = new_name(name)
    is_ours = store.turn(key, "claimed", "running", process=os.getpid(), started=datetime.now(UTC), run=run)
    return run if is_ours else None


def experiment_of(schedule: Schedule, key: Key, date: str | None = None) -> dict[str, Any]:
    """Returns the experiment of a tick, with its date where the data have one.

    Args:
        date: The date; None for that of the tick's moment on the schedule's clocks.
    """
    if not is_dated(schedule.experiment):
        return schedule.experiment
    return {**schedule.experiment, "date": date or date_of(schedule, key)}


def date_of(schedule: Schedule, key: Key) -> str:
    """Returns the date of a tick's moment on the schedule's clocks."""
    return dates.written(key.time.astimezone(zone(schedule.timing.timezone)).replace(tzinfo=None))


def _run(workspace: Path, folder: Path, schedule: Schedule, experiment: dict[str, Any], run: str, lock: int) -> int:
    """Runs the experiment in the schedule's folder, as a person there would, and returns the exit code."""
    if (reason := absent(schedule)) is not None:
        raise WorkError(reason)
    write_atomically(folder / SOURCE, json.dumps(experiment, indent=2) + "\n")
    command = child.command("pipelines", "run", str(folder / SOURCE), "--workspace", str(workspace))
    command += ["--json", *(["--if-changed"] if schedule.if_changed else [])]
    with open(folder / LOG, "ab") as log, open(folder / RESULT, "wb") as result:
        process = subprocess.Popen(
            command,
            cwd=schedule.folder,
            env={**os.environ, NEW_RUN: run},
            stdin=subprocess.DEVNULL,
            stdout=result,
            stderr=log,
            pass_fds=(lock,),  # the run keeps the lock if this process is killed
        )

    def forward(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, forward)
    code = child.waited(process)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    main(Path(sys.argv[1]), Key(sys.argv[2], datetime.fromisoformat(sys.argv[3])))
