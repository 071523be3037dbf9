"""The nights of a rehearsal: the schedule's times come, with what is planted, and the product follows."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from components.config import Command, Event, events
from elboflow.settings import RequestError, WorkError
from elboflow.testing.platforms import clock
from elboflow.testing.platforms.tokens import LIFETIME
from pipelines.experiment import Experiment
from pipelines.rehearsal import Flaw, Night
from pipelines.rehearsal.plan import (
    CLOCK,
    EXPIRED,
    FAILING,
    NO_DATA,
    OF_SUBMISSION,
    PRE_EMPTION,
    Planned,
    data,
    next_change,
)
from pipelines.rehearsal.stage import Stage
from pipelines.sweeps.candidates import Plan
from pipelines.targets import ENDED, Job, RunState, ScheduleState
from pipelines.targets.submission import job, sweep_job
from pipelines.timing import Timing
from pipelines.timing.calendar import Calendar, on_wall_clock

LONGEST = 240.0
"""Seconds that a night may take here."""
_BEFORE = timedelta(minutes=90)
"""Between where the clock is set to and its change, so that a tick in the changed hour comes next."""
_WITHOUT_ZONE = len("2026-12-01 02:30")
_RUNS = {"vertex": r"/v1/.*/pipelineJobs", "kubeflow": r"/apis/v2beta1/runs"}
_SCHEDULES = {"vertex": r"/v1/.*/schedules", "kubeflow": r"/apis/v2beta1/recurringruns"}


def rehearse(
    stage: Stage, target: str, timing: Timing, planned: list[Planned], if_changed: bool, flaws: list[Flaw]
) -> Iterator[Night]:
    """Yields the nights, in which the schedule's time comes by a clock that is moved on; adds flaws that they show.

    Raises:
        RequestError: The platform, or the product, refuses the schedule.
        WorkError: It could not be made.
    """
    server, faults = stage.server, stage.server.faults
    schedule = _scheduled(stage, target, job(stage.production, target, if_changed), timing, if_changed, flaws)
    small = schedule
    if stage.small is not None:
        small = stage.connect().create_schedule(job(stage.small, target), timing, False)
    before = ""
    for number, night in enumerate(planned, 1):
        if night.fault == CLOCK and (missed := _to_clock_change(stage, schedule.id, timing)) is not None:
            shown, said = on_wall_clock(missed, timing.timezone), "the clock skips the time of the schedule"
            yield Night(number, shown, "announced", CLOCK, "did not run", said, "nobody", 0.0)
            continue
        tick = server.next_tick(schedule.id)
        if tick is None:
            said = f"the schedule ends after {number - 1} of {len(planned)} nights"
            flaws.append(Flaw("ends", "--end", said, f"night {number} and all after it do not run", "a later --end"))
            return
        clock.move_to(tick)
        stage.credentials.renewed()
        started = time.monotonic()
        faults.clear()
        faults.rehearsed, faults.answers = not night.executes, {"decide": "run"}
        _plant(stage, target, night.fault)
        known = len(server.runs)
        with data(stage.samples, night.fault):
            state, said = _night(stage, small.id if night.executes else schedule.id, tick, night.fault)
        flaws += shown_by(night, number, state, said, target)
        if (started_now := len(server.runs) - known) != 1:
            flaws.append(Flaw("run-twice", "schedule run", f"night {number} has {started_now} runs",
                              "two models of one night are registered", "cancel those that are too many"))  # fmt: skip
        shown = on_wall_clock(tick, timing.timezone)
        if shown[:_WITHOUT_ZONE] == before[:_WITHOUT_ZONE]:
            said = "; ".join(filter(None, ("the clock shows the time of the schedule again", said)))
        before = shown
        yield Night(
            number,
            shown,
            "executed" if night.executes else "announced",
            night.fault,
            state.status,
            said,
            _told(stage.production, state.status),
            round(time.monotonic() - started, 1),
        )


def sweep(stage: Stage, target: str, plan: Plan, number: int) -> Night:
    """Returns what happens to a sweep of which each trial's machine is taken away once, and that is retried then."""
    stage.credentials.renewed()
    server, client, started = stage.server, stage.connect(), time.monotonic()
    server.faults.clear()
    server.faults.rehearsed, server.faults.answers = True, {"decide": "run"}
    _plant(stage, target, PRE_EMPTION)
    state, said = _followed(
        stage, client.submit(sweep_job(replace(plan, experiment=stage.production), target)).id, None
    )
    said = "; ".join(filter(None, (said, _tries(server.runs[state.id]))))
    if state.status == "failed":
        server.faults.clear()
        server.faults.rehearsed, server.faults.answers = True, {"decide": "run"}
        again, _ = _followed(stage, client.retry(state.id).id, None)
        said += f"; `runs retry` trains what is missing: {again.status}"
    shown = on_wall_clock(clock.now(), "UTC")
    told = _told(stage.production, state.status)
    return Night(number, shown, "sweep", PRE_EMPTION, state.status, said, told, round(time.monotonic() - started, 1))


def _scheduled(
    stage: Stage, target: str, wanted: Job, timing: Timing, if_changed: bool, flaws: list[Flaw]
) -> ScheduleState:
    """Makes the schedule, once, though the platform fails at first and its next answer is lost."""
    faults, client = stage.server.faults, stage.connect()
    faults.refuse("POST", _SCHEDULES[target], 503)
    faults.reset("POST", _SCHEDULES[target])
    made = client.create_schedule(wanted, timing, if_changed)
    faults.clear()
    if (there := len(client.schedules())) != 1:
        flaws.append(Flaw("schedule-twice", "schedule create", f"{there} schedules after a lost answer",
                          "every night runs twice", "delete those that are too many"))  # fmt: skip
    return made


def _to_clock_change(stage: Stage, schedule: str, timing: Timing) -> datetime | None:
    """Moves the clock to shortly before its next change; returns the time that the schedule then misses, if any."""
    change = next_change(timing, clock.now())
    if change is None:
        return None
    clock.move_to(change - _BEFORE)
    meant = Calendar(timing).after(change - _BEFORE)
    tick = stage.server.next_tick(schedule)
    return meant if meant is not None and (tick is None or tick > meant) else None


def _plant(stage: Stage, target: str, fault: str | None) -> None:
    faults, run = stage.server.faults, f"{_RUNS[target]}/[^/:]+"
    plants: dict[str, Callable[[], Any]] = {
        "429": lambda: faults.refuse("GET", run, 429, Retry_After="1"),
        "500": lambda: faults.refuse("GET", run, 500),
        "lost answer": lambda: faults.reset("GET", run),
        "503 on submission": lambda: faults.refuse("POST", _RUNS[target], 503),
        "lost answer on submission": lambda: faults.reset("POST", _RUNS[target]),
        PRE_EMPTION: lambda: faults.break_step("train", "is killed"),
        FAILING: lambda: faults.break_step("train", "fails"),
    }
    if fault in plants:
        plants[fault]()


def _night(stage: Stage, schedule: str, tick: datetime, fault: str | None) -> tuple[RunState, str]:
    """Starts the run of a night, as the platform does or, where it missed the tick, a person, and follows it."""
    client, runs = stage.connect(), stage.server.runs
    if fault in OF_SUBMISSION:
        id, begun = client.trigger(schedule).id, "started by `schedule run`"
    else:
        id, begun = stage.server.tick(schedule, tick).id, ""
    state, said = _followed(stage, id, fault)
    return state, "; ".join(part for part in (begun, said, _tries(runs[id])) if part)


def _followed(stage: Stage, id: str, fault: str | None) -> tuple[RunState, str]:
    """Follows a run as a command does; where that ends before the run, with the next one."""
    client, said, deadline = stage.connect(), "", time.monotonic() + LONGEST
    tokens, is_late = stage.credentials.tokens, fault == EXPIRED
    late = 0 if tokens is None else tokens.late
    while time.monotonic() < deadline:
        try:
            state = client.run(id)
        except (RequestError, WorkError) as error:
            said = f"the command that follows the run ends: {error}; the run goes on"
            stage.credentials.renewed()
            client = stage.connect()
            continue
        if is_late:
            clock.move_to(clock.now() + LIFETIME)
            if stage.credentials.by_itself:
                stage.credentials.renewed()
            is_late = False
            continue
        if state.status in ENDED:
            asked = sum(fault.met for fault in stage.server.faults.planted)
            if tokens is not None and tokens.late > late:
                return state, said or "went on with a new token"
            return state, said or ("asked again after the fault" if asked else "")
        time.sleep(0.1)
    client.cancel(id)
    return client.run(id), f"had not ended after {LONGEST:.0f} s, and was cancelled"


def _tries(run: Any) -> str:
    """Returns which steps were tried again, the last words of those that failed, and what was registered."""
    found = []
    for step in run.execution.steps.values():
        if step.kind != "step":
            continue
        log = step.log.read_text(encoding="utf-8", errors="replace") if step.log.exists() else ""
        if registered := re.findall(r"registered (.+)", log) if step.name == "register" else []:
            found.append(f"registered {registered[-1]}")
        if step.attempts < 2 and step.state != "failed":
            continue
        errors = re.findall(r"error: (.+)", log) if step.state == "failed" else []
        found.append(f"{step.name} {step.state} in try {step.attempts}" + (f" ({errors[-1]})" if errors else ""))
    return ", ".join(found)


def shown_by(night: Planned, number: int, state: RunState, said: str, target: str) -> Iterator[Flaw]:
    """Yields what a night shows to be wrong: one that ends badly without a fault that had to end it."""
    good = state.status in ("succeeded", "skipped")
    if good and night.fault == NO_DATA:
        yield Flaw("no-data-unnoticed", "data.source", "a night without data succeeds",
                   f"night {number} trains on data of another night, and nobody is told",
                   "write {date} in the location of the source")  # fmt: skip
    if good or night.fault in (FAILING, NO_DATA):
        return
    if night.fault == PRE_EMPTION:
        yield Flaw("pre-emption", f"targets.{target}.steps.train.retry", "a step whose machine is taken away fails",
                   f"night {number} fails: {said}", "retry: 2")  # fmt: skip
    else:
        yield Flaw("night-fails", "the pipeline", f"night {number} fails", said or "no step says why",
                   "see the message; `elboflow run --smoke` shows the same on this machine")  # fmt: skip


def _told(experiment: Experiment, status: str) -> str:
    """Returns who would have been told of an end, in production."""
    notify = experiment.notify
    wanted: set[Event] = {"end", "failure"} if status in ("failed", "cancelled") else {"end"}
    if notify is None or not wanted & events(notify):
        return "nobody"
    return notify.command[0] if isinstance(notify, Command) else f"${notify.variable}"
