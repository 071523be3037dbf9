"""How schedules and their history are shown. All times are in the schedule's timezone."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from elboflow.settings.terminal import one_line, printable
from pipelines.commands.outcome import tell
from pipelines.commands.runs import values as run_values
from pipelines.schedules.states import TickState
from pipelines.timing.calendar import on_wall_clock

if TYPE_CHECKING:
    from pipelines.all_targets import Unreachable
    from pipelines.targets import RunState, ScheduleState

_WIDE = 1000
"""Columns of a file or a pipe, in which nothing has to be cut off."""

_ROOM = 24
"""Columns that a long last column needs beside the others; with less, it goes below them."""

_ORIGIN = {"catch-up": "made up for", "hand": "by hand"}


def print_table(
    schedules: "Sequence[ScheduleState]", unreachable: "Sequence[Unreachable] | None", as_json: bool
) -> None:
    """Prints schedules, and the targets that did not answer as lines of the same table.

    Args:
        schedules: The schedules.
        unreachable: Of several targets, those that did not answer; None where only one was asked.
        as_json: Whether to print one JSON object instead.
    """
    if as_json:
        silent = {} if unreachable is None else {"unreachable": [asdict(target) for target in unreachable]}
        print(json.dumps({"schedules": [values(schedule) for schedule in schedules], **silent}))
        return
    if not schedules and not unreachable:
        tell("no schedules yet; `elboflow schedule create` makes one")
        return
    rows: list[tuple[str, ...]] = [
        (
            schedule.id,
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
    rows += [("", target.target, "", "", "", "unreachable", "", "", target.reason) for target in unreachable or ()]
    _table(("schedule", "target", "experiment", "cron", "timezone", "status", "next", "files", "last"), rows)


def print_schedule(schedule: "ScheduleState", as_json: bool) -> None:
    """Prints a schedule."""
    from components.surroundings.masking import masked

    if as_json:
        print(json.dumps(values(schedule)))
        return
    timing, last = schedule.timing, schedule.last
    files = " and ".join(file.path for file in schedule.files)
    lines = {
        "schedule": schedule.id,
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
    _table(("tick", "what", "run", "seconds", ""), rows)


def values(schedule: "ScheduleState") -> dict[str, Any]:
    """Returns a schedule as JSON values; times in ISO 8601, in UTC."""
    from components.surroundings.masking import masked_values

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


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table in which only the last column folds: an id or a time in two lines cannot be read or copied.

    Columns that do not fit beside the others go below their row, with their names.
    """
    from rich.cells import set_cell_size
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from pipelines.console import make_console

    console = make_console(soft_wrap=False)
    if not console.is_terminal:
        console.width = _WIDE
    rows = [(*map(one_line, row[:-1]), printable(row[-1])) for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    ends = list(accumulate(width + 2 for width in [*widths[:-1], min(widths[-1], _ROOM)]))
    fitting = max(sum(end - 2 <= console.width for end in ends), 1)
    if fitting == len(columns):
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in columns:
            table.add_column(name, no_wrap=name != columns[-1], overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
        return
    for row in (columns, *rows):
        beside = "  ".join(map(set_cell_size, row[:fitting], widths)).rstrip()
        console.print(Text(beside), soft_wrap=True)
        named = zip(columns[fitting:], row[fitting:], strict=True) if row is not columns else ()
        for line in _joined([f"{name}: {cell}" if name else cell for name, cell in named if cell], console.width - 4):
            console.print(Padding(Text(line, overflow="fold"), (0, 0, 0, 4)))


def _joined(items: Sequence[str], width: int) -> list[str]:
    """Returns lines of as many whole items as fit; only an item that is longer than a line will fold."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 2 + len(item) <= width:
            lines[-1] += f"  {item}"
        else:
            lines.append(item)
    return lines
