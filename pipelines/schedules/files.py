"""Schedules as files: a YAML file holds one schedule, or several under `schedules`.

name: faces-nightly
experiment: ../faces.yaml       # relative to this file, or the name of a ready-made one
target: vertex
cron: 0 2 * * *
timezone: Europe/Berlin
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from components.config import events
from elboflow.settings import RequestError, Settings, yaml_text
from elboflow.settings.explain import Path as Keys
from elboflow.settings.explain import explain
from elboflow.settings.zones import Timezone
from pipelines.experiment import Experiment, load
from pipelines.experiment import text as source
from pipelines.experiment.schedule import Name, Schedule, Trigger
from pipelines.timing import CatchUp, Timing
from pipelines.timing.calendar import check, moment
from pipelines.timing.cron import portable
from pipelines.timing.trigger import Changed, parsed

Value = bool | int | float | str | list[Any] | dict[str, Any] | None


class DeclaredSchedule(Settings):
    """A schedule, as a file declares it."""

    name: Name = Field(description="the name of the schedule, unique on its target")
    experiment: str = Field(description="a YAML file, relative to this one, or the name of a ready-made experiment")
    env: str | None = Field(None, description="the environment whose overlay is merged over the experiment")
    set: dict[str, Value] = Field(default_factory=dict, description="values of the experiment, as --set sets them")
    target: Literal["local", "kubeflow", "vertex"] = Field("local", description="where it runs")
    release: str | None = Field(None, description="the published version that it runs, on kubeflow and vertex")
    cron: str | None = Field(None, description="five fields; null: the experiment's `schedule.cron`")
    trigger: Trigger | None = Field(None, description="what starts a run on this machine, instead of a cron")
    timezone: Timezone | None = Field(None, description="null: the experiment's `schedule.timezone`, or UTC")
    catch_up: CatchUp | None = Field(None, description="which missed ticks run later; null: none, on kubeflow last")
    if_changed: bool = Field(False, description="whether a run is skipped if neither data nor experiment changed")
    max_active: Annotated[int, Field(ge=1)] = Field(1, description="runs that may be active at once")
    start: str | None = Field(None, description="when it begins, such as '2026-12-01' or '2026-12-01T06:00', in quotes")
    end: str | None = Field(None, description="when it ends")
    deadline_minutes: Annotated[int, Field(ge=1)] | None = Field(
        None, description="after so many minutes, a run on this machine counts as hanging; null: the experiment's"
    )
    paused: bool | None = Field(None, description="whether it is paused; null: as it is")


@dataclass(frozen=True)
class Declared:
    """A schedule of a file, with its experiment read and its times worked out.

    Attributes:
        place: Where it is declared: `FILE:LINE`.
        files: The files that its experiment is read from.
    """

    place: str
    settings: DeclaredSchedule
    experiment: Experiment
    timing: Timing
    files: tuple[Path, ...]


def read(path: Path) -> list[Declared]:
    """Reads the schedules of a file, or of all `.yaml` and `.yml` files of a folder, in the order of their names.

    Raises:
        RequestError: Something is wrong with one of them, or two on one target have one name.
    """
    found = [declared for file in _files(path) for declared in _read(file)]
    first: dict[tuple[str, str], str] = {}
    for place, settings in found:
        key = (settings.target, settings.name)
        if key in first:
            raise RequestError(f"{place}: name: '{settings.name}' is the name of the schedule in {first[key]}")
        first[key] = place
    return [_resolved(place, settings) for place, settings in found]


def _files(path: Path) -> Sequence[Path]:
    if not path.is_dir():
        return [path]
    if files := sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml")):
        return files
    raise RequestError(f"{path}: holds no .yaml file; a file without schedules says `schedules: []`")


def _read(file: Path) -> Iterator[tuple[str, DeclaredSchedule]]:
    """Yields the schedules of a file with their places."""
    try:
        content = file.read_text(encoding="utf-8-sig")
        document = yaml_text.read(content)
    except yaml_text.YAMLTextError as error:
        raise RequestError(f"{file}{'' if error.line is None else f':{error.line}'}: {error}") from None
    except UnicodeDecodeError:
        raise RequestError(f"{file}: not text in UTF-8") from None
    except OSError as error:
        raise RequestError(f"{file}: cannot be read: {error.strerror}") from None
    problems: list[str] = []
    for path, values in _sections(file, document.value):

        def place(within: Keys, path: Keys = path) -> str:
            keys = (*path, *within)
            while keys and keys not in document.lines:
                keys = keys[:-1]
            return f"{file}:{document.lines[keys] if keys else 1}"

        try:
            settings = DeclaredSchedule.model_validate(values)
        except ValidationError as error:
            found = explain(error, DeclaredSchedule)
            problems += [f"{place(problem.path)}: {problem}" for problem in found]
        else:
            yield place(("name",)), settings
    if problems:
        raise RequestError("\n".join(problems))


def _sections(file: Path, values: Any) -> list[tuple[Keys, Any]]:
    """Returns the schedules of a file, and the path of each in it."""
    if not isinstance(values, dict):
        raise RequestError(f"{file}: expected a section of keys and values, such as `name: nightly`")
    if "schedules" not in values:
        return [((), values)]
    if set(values) != {"schedules"} or not isinstance(values["schedules"], list):
        raise RequestError(f"{file}: schedules: expected a list of schedules, and no other key beside it")
    return [(("schedules", number), each) for number, each in enumerate(values["schedules"])]


def _resolved(place: str, settings: DeclaredSchedule) -> Declared:
    try:
        name = _experiment(Path(place.rpartition(":")[0]), settings.experiment)
        values = [
            f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.set.items()
        ]
        experiment = load(name, values, settings.env)
        timing = _timing(settings, experiment)
        if settings.deadline_minutes is not None:
            own = {"cron": timing.cron} if settings.trigger is None else {"trigger": settings.trigger}
            given = experiment.schedule.model_dump() if experiment.schedule else own
            section = Schedule.model_validate({**given, "deadline_minutes": settings.deadline_minutes})
            experiment = experiment.model_copy(update={"schedule": section})
        require_schedulable(experiment, timing, settings.target)
        return Declared(place, settings, experiment, timing, experiment_files(name, settings.env))
    except RequestError as error:
        raise RequestError(f"{place}: {settings.name}: {error}") from None


def require_schedulable(experiment: Experiment, timing: Timing, target: str) -> None:
    """Refuses an experiment that no schedule can run on a target.

    Raises:
        RequestError: It has a fixed date; it is to tell of hanging runs without a deadline; it has a deadline, on a
            platform; or a change of its data is the trigger, and they have no files.
    """
    if isinstance(parsed(timing.cron), Changed) and not experiment.data.source.locations:
        raise RequestError(f"trigger.changed: the source {experiment.data.source.kind} has no files that could change")
    if experiment.date is not None:
        raise RequestError("date: a schedule gives each run its own; leave it out")
    deadline = experiment.schedule and experiment.schedule.deadline_minutes
    if target != "local" and deadline is not None:
        raise RequestError(
            f"schedule.deadline_minutes: {deadline}: {target} does not look for runs that hang, as this machine's "
            f"scheduler does; leave it out for {target}, and give the steps `timeout_minutes`"
        )
    asks = experiment.notify is not None and "hanging" in events(experiment.notify)
    if asks and deadline is None:
        raise RequestError("notify.when: hanging: needs schedule.deadline_minutes, after which a run hangs")


def _experiment(file: Path, experiment: str) -> str:
    """Returns an experiment as commands take it: a path from here, or the name of a ready-made one."""
    beside = file.parent / experiment
    return experiment if experiment in source.ready_made() and not beside.is_file() else os.path.normpath(beside)


def experiment_files(experiment: str, env: str | None) -> tuple[Path, ...]:
    """Returns the files that an experiment is read from; a ready-made one has none."""
    from pipelines.experiment import environments

    written = [source.find(experiment), *([environments.find(experiment, env)] if env is not None else [])]
    return tuple(file for each in written if (file := Path(each.name)).is_file())


def _timing(settings: DeclaredSchedule, experiment: Experiment) -> Timing:
    section = experiment.schedule
    given = settings.cron or (str(settings.trigger) if settings.trigger else None)
    if settings.cron is not None and settings.trigger is not None:
        raise RequestError(f"trigger: there is a cron, {settings.cron}; give one of the two")
    cron = given or (section.when if section else None)
    if cron is None:
        raise RequestError("cron: missing; give it here, or the experiment a section `schedule`")
    zone = settings.timezone or (section.timezone if section else "UTC")
    timing = Timing(
        cron=cron,
        timezone=zone,
        start=None if settings.start is None else moment("start", settings.start, zone),
        end=None if settings.end is None else moment("end", settings.end, zone),
        max_active=settings.max_active,
        catch_up=settings.catch_up or ("last" if settings.target == "kubeflow" else "none"),
    )
    require_cron(timing, settings.target)
    if timing.end is None or timing.end > datetime.now(UTC):  # one that has ended stays in its file
        check(timing)
    return timing if settings.target == "local" else Timing(**{**vars(timing), "cron": portable(timing.cron)})


def require_cron(timing: Timing, target: str) -> None:
    """Raises RequestError for a trigger on a platform, which has none."""
    if target != "local" and parsed(timing.cron) is not None:
        raise RequestError(
            f"schedule.trigger: '{timing.cron}': {target} runs schedules by a cron alone; triggers are of this "
            "machine's scheduler"
        )
