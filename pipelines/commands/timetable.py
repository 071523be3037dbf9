"""How schedules are shown: one as lines, many as a table, and the history of one."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

from elboflow.settings import RequestError
from elboflow.settings.terminal import one_line, printable
from pipelines.commands.outcome import tell
from pipelines.commands.runs import values as run_values
from pipelines.schedules.states import TickState

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from pipelines.schedules.everywhere import Unreachable
    from pipelines.targets import RunState, ScheduleState


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
            at(schedule.next, schedule.timing.timezone),
            schedule.reason or (_status(schedule.last) if schedule.last else ""),
        )
        for schedule in schedules
    ]
    rows += [("", target.target, "", "", "", "unreachable", "", target.reason) for target in unreachable or ()]
    _table(("schedule", "target", "experiment", "cron", "timezone", "status", "next", "last"), rows)


def print_schedule(schedule: "ScheduleState", as_json: bool) -> None:
    """Prints a schedule."""
    from components.surroundings.masking import masked

    if as_json:
        print(json.dumps(values(schedule)))
        return
    timing, last = schedule.timing, schedule.last
    lines = {
        "schedule": schedule.id,
        "target": schedule.target,
        "experiment": schedule.experiment,
        "status": schedule.status,
        "why": schedule.reason or "",
        "cron": f"{timing.cron} ({timing.timezone})",
        "start": at(timing.start, timing.timezone),
        "end": at(timing.end, timing.timezone),
        "max active": str(timing.max_active),
        "catch up": timing.catch_up,
        "if changed": "yes" if schedule.if_changed else "no",
        "next": at(schedule.next, timing.timezone),
        "last": f"{last.id}: {_status(last)}{f', {last.reason}' if last.reason else ''}" if last else "",
        "link": schedule.link or "",
    }
    for name, value in lines.items():
        if value:
            print(f"{name:10}  {printable(masked(value))}")


def print_history(runs: "Sequence[RunState]", as_json: bool) -> None:
    """Prints what became of the ticks of a schedule."""
    if as_json:
        print(json.dumps({"history": [run_values(run) for run in runs]}))
        return
    if not runs:
        tell("nothing was due yet")
        return
    rows = [(at(_due(run), "UTC"), _outcome(run), _id(run), _seconds(run), _said(run)) for run in runs]
    _table(("tick", "what", "run", "seconds", ""), rows)


def values(schedule: "ScheduleState") -> dict[str, Any]:
    """Returns a schedule as JSON values; times in ISO 8601, in UTC."""
    from components.surroundings.masking import masked_values

    shown: dict[str, Any] = json.loads(json.dumps(asdict(schedule), default=datetime.isoformat))
    shown["reason"] = masked_values(shown["reason"])
    last = run_values(schedule.last) if schedule.last else None
    return {"schedule": shown.pop("id"), **shown.pop("timing"), **shown, "last": last}


def at(moment: datetime | None, timezone: str) -> str:
    """Returns a moment as the wall's clock of a timezone shows it, or of UTC where that is gone; nothing for none."""
    from elboflow.settings.zones import zone

    if moment is None:
        return ""
    try:
        here: tzinfo = zone(timezone)
    except RequestError:
        here = UTC
    return f"{moment.astimezone(here):%Y-%m-%d %H:%M %Z}"


def _due(run: "RunState") -> datetime | None:
    return run.tick if isinstance(run, TickState) else run.created


def _status(run: "RunState") -> str:
    return _outcome(run) if _waits(run) else run.status


def _outcome(run: "RunState") -> str:
    if not isinstance(run, TickState):
        return run.status
    return f"{run.record} ({_ordinal(run.place)} of {run.line:,})" if run.place and run.line else run.record


def _waits(run: "RunState") -> bool:
    return isinstance(run, TickState) and run.record == "waiting"


def _ordinal(number: int) -> str:
    ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def _id(run: "RunState") -> str:
    return "" if isinstance(run, TickState) and run.ticks > 1 else run.id


def _said(run: "RunState") -> str:
    """Returns what else is known of a run; of one on a platform, only its reason."""
    said = []
    if isinstance(run, TickState):
        said += ["in the future: the clock was ahead"] if run.future else []
        said += [_ORIGIN[run.origin]] if run.origin in _ORIGIN else []
        said += [f"exit code {run.exit_code}"] if run.exit_code else []
        if run.ticks > 1:
            return f"{run.ticks:,} ticks from {at(run.first, 'UTC')} to {at(run.tick, 'UTC')}: {run.reason}"
    return "; ".join([*said, *([run.reason] if run.reason else [])])


_ORIGIN = {"catch-up": "made up for", "hand": "by hand"}


def _seconds(run: "RunState") -> str:
    if run.status not in ("running", "succeeded", "failed", "cancelled") or run.created is None:
        return ""
    seconds = ((run.ended or datetime.now(UTC)) - run.created).total_seconds()
    return f"{seconds:.0f}" if seconds >= 0 else ""  # the clock was put back during the run


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table, of which only the last column folds: an id or a time in two lines cannot be read or copied."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from pipelines.console import make_console

    console = make_console(soft_wrap=False)
    if not console.is_terminal:
        console.width = _WIDE
    rows = [(*map(one_line, row[:-1]), printable(row[-1])) for row in rows]
    *first, last = zip(columns, *rows, strict=True)
    needed = sum(max(map(len, column)) + 2 for column in first)
    beside = needed + min(max(map(len, last)), _ROOM) <= console.width
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in columns[:-1]:
        table.add_column(name, no_wrap=True)
    if beside:
        table.add_column(columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row if beside else row[:-1]))
    if beside:
        console.print(table)
        return
    # One line of a row that a narrow terminal breaks, but of which nothing is cut off; then what the last column says.
    width, console.width = console.width, max(console.width, needed)
    header, *lines = _lines(console, table)
    console.print(Text(header), soft_wrap=True)
    for line, said in zip(lines, last[1:], strict=True):
        console.print(Text(line), soft_wrap=True)
        if said:
            below = Text(f"{columns[-1]}: {said}" if columns[-1] else said, overflow="fold")
            console.print(Padding(below, (0, 0, 0, 4)), width=width)


def _lines(console: "Console", table: "Table") -> list[str]:
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


_ROOM = 24
"""Columns that a reason needs beside the others; with less, it goes below them."""

_WIDE = 1000
"""Columns for what is not a terminal, such as a file, in which nothing has to be cut off."""
