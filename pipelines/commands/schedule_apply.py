"""`elboflow schedule apply`: the schedules of files, made on their targets."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elboflow.settings import RequestError, WorkError
from pipelines.commands import options
from pipelines.commands.outcome import pasteable, show_log, tell
from pipelines.commands.workspaces import check_here

if TYPE_CHECKING:
    from pipelines.experiment import Experiment
    from pipelines.schedules.files import Declared
    from pipelines.schedules.plan import Action, Change
    from pipelines.targets import Job, Target

_SIGNS = {"create": "+", "change": "~", "delete": "-", "keep": " "}
_DONE: "dict[Action, str]" = {"create": "created", "change": "changed", "delete": "deleted", "keep": "unchanged"}


def apply(
    path: Annotated[
        Path, typer.Argument(metavar="FILE|FOLDER", help="Schedules as YAML.", parser=str, callback=options.local)
    ],
    diff: Annotated[bool, typer.Option("--diff", help="Show what would change, and change nothing.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete what an earlier apply of the group made and no file names.")
    ] = False,
    group: Annotated[
        str, typer.Option(metavar="NAME", help="The schedules that are kept together: --prune looks at no others.")
    ] = "default",
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Make schedules as files say: create what is not there, change what differs, and leave the rest."""
    from pipelines.schedules.files import read
    from pipelines.schedules.plan import in_order, perform, plan
    from pipelines.workspace import open_to_write

    check_name("--group", group)
    declared = read(path)
    show_log()
    targets = _targets(declared, workspace, prune)
    changes = plan([(each, _job(each, workspace)) for each in declared], targets, group, prune)
    if diff:
        _show(changes, {}, as_json)
        return
    if any(change.target == "local" and change.action != "keep" for change in changes):
        open_to_write(workspace)
    ids: dict[int, str] = {}
    for number in in_order(changes):
        change = changes[number]
        try:
            made = perform(change, targets[change.target], group)
        except BaseException as error:
            _show(changes, ids, as_json, failed=number, reason=str(error))
            if isinstance(error, RequestError | WorkError):
                when = "put that right, and " if isinstance(error, RequestError) else ""
                again = f"; {when}the same command again does the rest ({len(changes) - len(ids)} of {len(changes)})"
                is_done = any(changes[done].action != "keep" for done in ids)
                kind = RequestError if isinstance(error, RequestError) and not is_done else WorkError
                raise kind(f"{change.name} on {change.target}: {error}{again}") from None
            raise
        ids[number] = made.id if made else change.schedule.id if change.schedule else ""
    _show(changes, ids, as_json)
    _tell_if_nobody_runs_them(changes, workspace)


def check_name(option: str, name: str) -> None:
    """Raises RequestError for a name of a schedule, or of a group of them, that is malformed."""
    from pydantic import TypeAdapter, ValidationError

    from pipelines.experiment.schedule import Name

    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        rule = error.errors()[0]["msg"].removeprefix("Input should ")
        raise RequestError(f"{option} {name}: must {rule}") from None


def _targets(declared: "list[Declared]", workspace: Path, prune: bool) -> "dict[str, Target]":
    """Returns the targets of the files; with `prune`, those that the workspace was used with, too."""
    from pipelines.connect import connect, remembered
    from pipelines.workspace import Workspace

    place = Workspace(workspace.resolve())
    experiments: dict[str, Experiment | None] = {}
    if prune:
        experiments = dict.fromkeys(("local", *(name for name in remembered(place) if name != "local")))
    for each in declared:
        target = each.settings.target
        experiments[target] = experiments.get(target) or each.experiment
    return {target: connect(target, experiment, place) for target, experiment in experiments.items()}


def _job(declared: "Declared", workspace: Path) -> "Job":
    from pipelines.releases import reference
    from pipelines.targets.submission import job

    settings = declared.settings
    try:
        if settings.target == "local":
            check_here(declared.experiment, workspace)
        published = reference(declared.experiment, settings.target, settings.release)
        return replace(job(declared.experiment, settings.target, release=published), files=declared.files)
    except RequestError as error:
        raise RequestError(f"{declared.place}: {settings.name}: {error}") from None


def _show(
    changes: "list[Change]", ids: dict[int, str], as_json: bool, failed: int | None = None, reason: str | None = None
) -> None:
    """Prints changes: those of `ids` were made, one may have failed, and no other was made."""
    from elboflow.settings.text import counted
    from pipelines.experiment.differences import show
    from pipelines.schedules.plan import counts

    if as_json:
        print(
            json.dumps(
                {"schedules": [_values(change, ids.get(n), n == failed, reason) for n, change in enumerate(changes)]}
            )
        )
        return
    for number, change in enumerate(changes):
        state = "failed" if number == failed else "not done" if failed is not None and number not in ids else ""
        timing = change.declared.timing if change.declared else None
        what = f"{timing.cron} ({timing.timezone})" if timing else ""
        print(f"{_SIGNS[change.action]} {change.name}  {change.target}  {what}{f'  {state}' if state else ''}".rstrip())
        show(list(change.differences), indent=4)
    done = [change for number, change in enumerate(changes) if failed is None or number in ids]
    numbers = counts(done)
    parts = [f"{numbers[action]} {word}" for action, word in _DONE.items() if numbers[action]]
    would = "would be: " if not ids and failed is None and changes else ""
    tell(f"{counted(len(changes), 'schedule')}; {would}{', '.join(parts) or 'nothing was changed'}")


def _values(change: "Change", id: str | None, failed: bool, reason: str | None) -> dict[str, Any]:
    from components.surroundings.masking import masked_values
    from pipelines.experiment.overrides import ABSENT

    differences: Any = {
        each.key: [None if value is ABSENT else value for value in (each.before, each.after)]
        for each in change.differences
    }
    return {
        "name": change.name,
        "target": change.target,
        "schedule": id or (change.schedule.id if change.schedule else None),
        "action": change.action,
        "done": id is not None,
        "reason": masked_values(reason) if failed else None,
        "differences": masked_values(json.loads(json.dumps(differences, default=str))),
    }


def _tell_if_nobody_runs_them(changes: "list[Change]", workspace: Path) -> None:
    from pipelines.schedules.heartbeat import trouble

    is_here = any(change.target == "local" and change.declared is not None for change in changes)
    if is_here and (reason := trouble(workspace.resolve())) is not None:
        tell(f"{reason}: its ticks run under {pasteable('scheduler', '--workspace', workspace)}")
