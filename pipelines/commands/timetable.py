"""How schedules and their history are shown. All times are in the schedule's timezone."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.surroundings.masking import masked, masked_values
from elboflow.settings.terminal import printable
from pipelines.commands.outcome import tell
from pipelines.commands.target_runs import values as run_values
from pipelines.console import print_table
from pipelines.schedules.states import TickState
from pipelines.timing.calendar import on_wall_clock

if TYPE_CHECKING:
    from pipelines.connect import Unreachable
    from pipelines.targets import RunState, ScheduleState

_ORIGIN = {"catch-up": "made up for", "hand": "by hand"}


def print_schedules(
    schedules: "Sequence[ScheduleState]", unreachable: "Sequence[Unreachable] | None", as_json: bool
) -> None:
    """Prints schedules, and the targets that did not answer as lines of the same table.

    Args:
        unreachable: Of several targets, those that did not answer; None where only one was asked.
    """
    if as_json:
        silent = {} if unreachable is None else {"unreachable": [asdict(target) for target in unreachable]}
        print(json.dumps({"schedules": [values(schedule) for schedule in schedules], **silent}))
        return
    if not schedules and not unreachable:
        tell("no schedules yet; `elboflow schedule create` makes one")
        return
    are_named = any(schedule.name for schedule in schedules)
    rows: list[tuple[str, ...]] = [
        (
            schedule.id,
            *([schedule.name or ""] if are_named else []),
            schedule.target,
            schedule.experiment,
            schedule.timing.cron,
            schedule.timing.timezone,
            schedule.status,
            _at(schedule.next, schedule.timing.timezone),
            ", ".join(_changes(schedule)),
            schedule.reason or (_status(schedule.last) if schedule.last else ""),
        )
        for schedule in schedules
    ]
    lost = [(target.target, "", "", "", "unreachable", "", "", target.reason) for target in unreachable or ()]
    rows += [("", *([""] if are_named else []), *row) for row in lost]
    columns = ("target", "experiment", "cron", "timezone", "status", "next", "files", "last")
    print_table(("schedule", *(["name"] if are_named else []), *columns), rows)


def print_schedule(schedule: "ScheduleState", as_json: bool) -> None:
    """Prints a schedule."""
    if as_json:
        print(json.dumps(values(schedule)))
        return
    timing, last = schedule.timing, schedule.last
    files = " and ".join(file.path for file in schedule.files)
    lines = {
        "schedule": schedule.id,
        "name": schedule.name or "",
        "group": schedule.group or "",
        "target": schedule.target,
        "experiment": f"{schedule.experiment} (a copy{f' of {files}' if files else ''})",
        "since then": ", ".join(_changes(schedule)),
        "status": schedule.status,
        "why": schedule.reason or "",
        "cron": f"{timing.cron} ({timing.timezone})",
        "start": _at(timing.start, timing.timezone),
        "end": _at(timing.end, timing.timezone),
        "max active": str(timing.max_active),
        "catch up": timing.catch_up,
        "if changed": "yes" if schedule.if_changed else "no",
        "mlflow": schedule.tracking_uri or "",
        "next": _at(schedule.next, timing.timezone),
        "last": _last(last) if last else "",
        "link": schedule.link or "",
    }
    for name, value in lines.items():
        if value:
            print(f"{name:10}  {printable(masked(value))}")


def print_history(runs: "Sequence[RunState]", timezone: str, as_json: bool) -> None:
    """Prints the ticks of a schedule, at the times of its timezone."""
    if as_json:
        print(json.dumps({"history": [run_values(run) for run in runs]}))
        return
    if not runs:
        tell("nothing was due yet")
        return
    rows = [(_at(_due(run), timezone), _outcome(run), run.id, _seconds(run), _note(run, timezone)) for run in runs]
    print_table(("tick", "what", "run", "seconds", ""), rows)


def values(schedule: "ScheduleState") -> dict[str, Any]:
    """Returns a schedule as JSON values; times in ISO 8601, in UTC."""
    shown: dict[str, Any] = json.loads(json.dumps(asdict(schedule), default=datetime.isoformat))
    shown["reason"] = masked_values(shown["reason"])
    last = run_values(schedule.last) if schedule.last else None
    return {"schedule": shown.pop("id"), **shown.pop("timing"), **shown, "last": last}


def _at(moment: datetime | None, timezone: str) -> str:
    return on_wall_clock(moment, timezone) if moment is not None else ""


def _changes(schedule: "ScheduleState") -> list[str]:
    """Returns the files that are no longer what the schedule has a copy of."""
    return [f"{file.path} {file.status}" for file in schedule.files if file.status != "unchanged"]


def _due(run: "RunState") -> datetime | None:
    return run.tick if isinstance(run, TickState) else run.created


def _status(run: "RunState") -> str:
    return _outcome(run) if isinstance(run, TickState) and run.record == "waiting" else run.status


def _last(run: "RunState") -> str:
    return f"{f'{run.id}: ' if run.id else ''}{_status(run)}{f', {run.reason}' if run.reason else ''}"


def _outcome(run: "RunState") -> str:
    if not isinstance(run, TickState):
        return run.status
    return f"{run.record} ({_ordinal(run.place)} of {run.line:,})" if run.place and run.line else run.record


def _ordinal(number: int) -> str:
    ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def _note(run: "RunState", timezone: str) -> str:
    """Returns what the other columns do not say of a run; of one on a platform, its reason."""
    said = []
    if isinstance(run, TickState):
        if run.date is not None:
            said.append(f"for {run.date}")
        if run.ticks > 1:
            return f"{run.ticks:,} ticks from {_at(run.first, timezone)} to {_at(run.tick, timezone)}: {run.reason}"
        said += ["in the future: the clock was ahead"] if run.future else []
        said += [_ORIGIN[run.origin]] if run.origin in _ORIGIN else []
        said += [f"exit code {run.exit_code}"] if run.exit_code else []
    return "; ".join([*said, *([run.reason] if run.reason else [])])


def _seconds(run: "RunState") -> str:
    if not run.id or run.status not in ("running", "succeeded", "failed", "cancelled") or run.created is None:
        return ""
    seconds = ((run.ended or datetime.now(UTC)) - run.created).total_seconds()
    return f"{seconds:.0f}" if seconds >= 0 else ""  # the clock was put back during the run
