"""What `elboflow schedule apply` changes: the schedules of files compared with those of the targets."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any, Literal

from elboflow.settings import RequestError
from pipelines.experiment import NOT_RECORDED
from pipelines.experiment.differences import Difference, compared
from pipelines.schedules.files import Declared
from pipelines.schedules.triggers import depth, edges, refuse_circle
from pipelines.targets import Job, Naming, ScheduleState, Target
from pipelines.timing.trigger import parsed

Action = Literal["create", "change", "delete", "keep"]


@dataclass(frozen=True)
class Change:
    """What becomes of one schedule.

    Attributes:
        differences: What differs between the schedule and its file, by key.
        schedule: The schedule of the target; None for one that is created.
        declared: The schedule of the file, and `job` what it runs; None for one that is deleted.
    """

    target: str
    name: str
    action: Action
    differences: tuple[Difference, ...] = ()
    schedule: ScheduleState | None = None
    declared: Declared | None = None
    job: Job | None = None


def plan(
    wanted: Sequence[tuple[Declared, Job]], targets: Mapping[str, Target], group: str, prune: bool
) -> list[Change]:
    """Returns what becomes of each schedule: those of the files in their order, then those that go.

    Args:
        wanted: The schedules of the files, and what they run.
        targets: The targets, by name; those that only pruning looks at, too.
        group: The schedules that are kept together. Those of other groups, and those made by hand, are left alone.
        prune: Whether the schedules of the group that no file names are deleted.

    Raises:
        RequestError: A name is that of a schedule of another group, or of one made by hand.
    """
    found = {name: target.schedules() for name, target in targets.items()}
    changes, kept = [], set()
    for declared, job in wanted:
        settings = declared.settings
        same = [each for each in found[settings.target] if each.name == settings.name]
        if any(each.id == settings.name for each in found[settings.target]):
            raise RequestError(
                f"{declared.place}: name: {settings.name} is the id of another schedule of {settings.target}; choose "
                "another name"
            )
        for other in same:
            if other.group != group:
                owner = "was made by hand" if other.group is None else f"is of the group {other.group}"
                raise RequestError(
                    f"{declared.place}: name: the schedule {settings.name} of {settings.target} {owner}; delete it "
                    "there, or choose another name"
                )
        options = [_compared(declared, job, each, targets[settings.target]) for each in same]
        # A replacement that was killed leaves two: the one as its file says stays.
        best = min(options, key=lambda change: len(change.differences), default=None)
        if best is None and _has_ended(declared):
            raise RequestError(f"{declared.place}: {settings.name}: end: {settings.end} has passed already")
        change = best or Change(settings.target, settings.name, "create", (), None, declared, job)
        changes.append(change)
        if change.schedule is not None:
            kept.add((settings.target, change.schedule.id))
    declared_names = {(declared.settings.target, declared.settings.name) for declared, _ in wanted}
    gone = [
        Change(name, each.name or each.id, "delete", (), each)
        for name, schedules in found.items()
        for each in schedules
        if each.group == group
        and (name, each.id) not in kept
        and (prune or (name, each.name) in declared_names)  # a second one of a name
    ]
    going = {change.schedule.id for change in gone if change.target == "local" and change.schedule is not None}
    others = [
        each for each in found.get("local", ()) if each.id not in going and ("local", each.name) not in declared_names
    ]
    refuse_circle([*((each.experiment, each.timing.cron) for each in others), *_here(wanted)])
    return [*changes, *gone]


def in_order(changes: Sequence[Change]) -> list[int]:
    """Returns the numbers of changes in the order in which they are made, so that no circle of triggers comes about.

    First schedules by a cron, then triggers that go, then what comes after other schedules, each after those, at last
    the other deletions. A change never has to wait for one that comes after it.
    """
    wanted = [(change.declared, change.job) for change in changes if change.declared and change.job]
    after = edges(_here(wanted))

    def order(number: int) -> float:
        change = changes[number]
        if change.declared is not None:
            return depth(after, change.declared.experiment.name) if parsed(change.declared.timing.cron) else 0
        is_trigger = change.schedule is not None and parsed(change.schedule.timing.cron) is not None
        return 0.5 if is_trigger else inf

    return sorted(range(len(changes)), key=order)


def _here(wanted: Sequence[tuple[Declared, Job]]) -> list[tuple[str, str]]:
    """Returns experiments, and crons or triggers, of the schedules of this machine; platforms have no triggers."""
    return [(each.experiment.name, each.timing.cron) for each, _ in wanted if each.settings.target == "local"]


def perform(change: Change, target: Target, group: str) -> ScheduleState | None:
    """Makes a change, and returns the schedule as it is then; None where it is deleted. Safe to repeat."""
    if change.declared is None or change.job is None:
        if change.action == "delete" and change.schedule is not None:
            target.delete(change.schedule.id)
        return None
    timing, settings = change.declared.timing, change.declared.settings
    naming, schedule = Naming(settings.name, group), change.schedule
    if schedule is None:
        return target.create_schedule(change.job, timing, settings.if_changed, naming, paused=bool(settings.paused))
    is_paused = schedule.status == "paused"
    paused = is_paused if settings.paused is None else settings.paused
    if any(difference.key != "paused" for difference in change.differences):
        return target.change_schedule(schedule, change.job, timing, settings.if_changed, naming, paused=paused)
    if paused != is_paused:
        (target.pause if paused else target.resume)(schedule.id)
        return target.schedule(schedule.id)
    return schedule


def counts(changes: Sequence[Change]) -> Counter[Action]:
    """Returns how many schedules each action is of."""
    return Counter(change.action for change in changes)


def _compared(declared: Declared, job: Job, schedule: ScheduleState, target: Target) -> Change:
    settings, now = declared.settings, datetime.now(UTC)
    before, after = vars(schedule.timing), vars(declared.timing)
    found = [
        Difference(field.name, _written(before[field.name]), _written(after[field.name]))
        for field in fields(declared.timing)
        if not _same(field.name, before[field.name], after[field.name], now)
    ]
    if schedule.if_changed != settings.if_changed:
        found.append(Difference("if_changed", schedule.if_changed, settings.if_changed))
    is_paused = schedule.status == "paused"
    if settings.paused is not None and is_paused != settings.paused:
        found.append(Difference("paused", is_paused, settings.paused))
    found += [Difference(file.path, "as it was", file.status) for file in schedule.files if file.status != "unchanged"]
    if schedule.status == "ended" and _has_ended(declared):
        return Change(settings.target, settings.name, "keep", (), schedule, declared, job)
    if schedule.status in ("ended", "broken"):
        found.append(Difference("status", schedule.status, "active"))
    if schedule.folder is not None and schedule.folder != str(Path.cwd()):
        found.append(Difference("folder", schedule.folder, str(Path.cwd())))
    found += _job_differences(declared, job, schedule, target)
    action: Action = "change" if found else "keep"
    return Change(settings.target, settings.name, action, tuple(found), schedule, declared, job)


def _job_differences(declared: Declared, job: Job, schedule: ScheduleState, target: Target) -> list[Difference]:
    """Returns the keys of the experiment that differ; the compiled pipeline where the difference is elsewhere in it."""
    if schedule.target == "local":
        return list(compared(target.scheduled_experiment(schedule.id), job.arguments["experiment"]))
    if schedule.job is not None and job.digest.startswith(schedule.job):
        return []
    held = target.scheduled_experiment(schedule.id)
    wanted = declared.experiment.model_dump(mode="json", exclude=set(NOT_RECORDED))
    found = list(compared(held, wanted)) if held and job.release is None else []
    return [*found, Difference("pipeline", (schedule.job or "")[:12], job.digest[:12])]


def _has_ended(declared: Declared) -> bool:
    return declared.timing.end is not None and declared.timing.end <= datetime.now(UTC)


def _same(name: str, before: Any, after: Any, now: datetime) -> bool:
    """Whether two values mean the same from now on: starts that have passed do."""
    starts = [value is None or (isinstance(value, datetime) and value <= now) for value in (before, after)]
    return bool(before == after or (name == "start" and all(starts)))


def _written(value: Any) -> Any:
    return value.isoformat(timespec="minutes") if isinstance(value, datetime) else value
