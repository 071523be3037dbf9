"""`elboflow schedule backfill`: the runs of a schedule for past dates."""

import json
import os
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

from elboflow.settings import RequestError, WorkError
from pipelines.commands.outcome import show_log, tell
from pipelines.commands.target_runs import ChosenTarget, status_and_reason, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.targets import RunState, ScheduleState

PAUSES = {"local": 1.0, "kubeflow": 15.0, "vertex": 15.0}
"""Seconds between two questions about the runs."""


def run_dates(
    chosen: ChosenTarget, id: str, days: tuple[date, date], again: bool, dry_run: bool, as_json: bool
) -> None:
    """Runs the dates of a schedule between two days, and waits for them.

    Raises:
        RequestError: The days have no tick, the data have no date, or another backfill of the schedule is at work.
        WorkError: A run failed.
    """
    from pipelines.schedules.backfill import backfill, left, wanted

    target = chosen.target
    schedule = target.schedule(id)
    if schedule.status == "deleted":
        raise RequestError(f"the schedule '{id}' was {schedule.reason}")
    all_dates = wanted(schedule.timing, *days)
    _require_dated(chosen, schedule)
    to_run = left(target, schedule, all_dates, again)
    if dry_run or not to_run:
        _list(schedule, all_dates, to_run, as_json)
        return
    show_log()
    skipped = len(all_dates) - len(to_run)
    tell(f"{schedule.name or schedule.id}: {len(to_run):,} dates to run; {skipped:,} have succeeded already")

    def told(date: str, state: "RunState") -> None:
        tell(f"{date}: {status_and_reason(state)} ({state.id})")

    with _alone(chosen, schedule):
        try:
            ended = backfill(target, schedule, to_run, _spare(chosen), told, PAUSES[chosen.name])
        except KeyboardInterrupt as interrupt:
            advice = "runs at work go on; the same command again goes on with the dates that are left"
            raise KeyboardInterrupt(*(interrupt.args[:1] or (2,)), advice) from None
    if as_json:
        runs = {date: values(state) for date, state in ended.items()}
        print(json.dumps({"schedule": schedule.id, "dates": all_dates, "runs": runs}))
    failed = [date for date, state in ended.items() if state.status not in ("succeeded", "skipped")]
    if failed:
        raise WorkError(f"{len(failed):,} of {len(ended):,} dates failed: {', '.join(failed[:5])}")
    tell(f"{len(ended):,} dates are done")


def _require_dated(chosen: ChosenTarget, schedule: "ScheduleState") -> None:
    from pipelines.schedules.states import is_dated

    # The platforms look at the pipeline's parameters.
    if chosen.name == "local" and not is_dated(chosen.target.scheduled_experiment(schedule.id)):
        raise RequestError(f"the data of the schedule {schedule.id} have no {{date}}: each date would read the same")


def _list(schedule: "ScheduleState", all_dates: list[str], to_run: list[str], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"schedule": schedule.id, "dates": all_dates, "to_run": to_run}))
        return
    for each in to_run:
        print(each)
    tell(f"{len(to_run):,} of {len(all_dates):,} dates to run; the others have succeeded")


def _spare(chosen: ChosenTarget) -> "Callable[[], int]":
    """Returns what tells how many more runs the target can carry; a platform queues what it cannot."""
    from pipelines.schedules.local import LocalTarget

    target = chosen.target
    return target.spare if isinstance(target, LocalTarget) else lambda: 1


@contextmanager
def _alone(chosen: ChosenTarget, schedule: "ScheduleState") -> "Iterator[None]":
    """Refuses a second backfill of a schedule from the same workspace."""
    from elboflow.artifacts.lock import hold

    folder = chosen.workspace.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    held = hold(folder / f"backfill-{schedule.id}.lock")
    if held is None:
        raise RequestError(f"another backfill of {schedule.id} is at work; wait for it, or end it")
    try:
        yield
    finally:
        os.close(held)
