"""`elboflow rehearse`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elboflow.settings import RequestError
from elboflow.settings.text import counted
from pipelines.commands import options

if TYPE_CHECKING:
    from pipelines.experiment import Experiment
    from pipelines.rehearsal import Flaw, Night
    from pipelines.timing import CatchUp, Timing


def rehearse(
    experiment: options.ExperimentArgument,
    nights: Annotated[int, typer.Option(min=0, max=400, help="How many; 0 only looks for mistakes.")] = 30,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET",
            help="kubeflow or vertex; by default that of the experiment, and vertex where it has both.",
            autocompletion=options.platforms,
        ),
    ] = None,
    env: options.EnvOption = None,
    assignments: options.SetOption = None,
    inventory: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A YAML of what exists there: images, secrets, quota, …",
            callback=options.local,
            parser=str,
        ),
    ] = None,
    sample: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=FILE", help="A small file that stands for data.source.KEY; without, no step works."),
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUES", help="Rehearse such a `sweep` of the experiment after the nights, too."),
    ] = None,
    announce: Annotated[bool, typer.Option("--announce", help="Let no step do its work, in no night.")] = False,
    if_changed: Annotated[bool, typer.Option("--if-changed", help="As `schedule create` would be told.")] = False,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="As `schedule create` would be told.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the nights in which faults are planted.")] = 0,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Run a schedule's nights on this machine, on doubles of the platform, with faults; say what would break."""
    from pipelines.commands.outcome import show_log
    from pipelines.commands.sweep import planned
    from pipelines.experiment import load
    from pipelines.rehearsal import Flaw, Night
    from pipelines.rehearsal.inventory import read
    from pipelines.rehearsal.perform import Wanted, perform

    given = load(experiment, assignments or (), env)
    target = _platform(given, target)
    wanted = Wanted(
        given,
        target,
        _timing(given, target, end),
        if_changed,
        read(None if inventory is None else Path(inventory)),
        nights,
        seed,
        _samples(sample or ()),
        not announce,
        planned(given, over, None, None, None, 1, target) if over else None,
    )
    show_log()
    seen: list[Night] = []
    flaws: list[Flaw] = []
    for each in perform(wanted, workspace):
        if isinstance(each, Flaw):
            flaws.append(each)
        else:
            seen.append(each)
        if not as_json:
            print(_block(each) if isinstance(each, Flaw) else _line(each), flush=True)  # a night may take a minute
    if as_json:
        found: dict[str, Any] = {"ok": not flaws, "target": target, "seed": seed}
        print(json.dumps({**found, "nights": list(map(asdict, seen)), "flaws": list(map(asdict, flaws))}))
    else:
        print("nothing would break" if not flaws else f"{counted(len(flaws), 'thing')} would break")
    if flaws:
        raise typer.Exit(1)


def _platform(experiment: "Experiment", target: str | None) -> str:
    if target is not None:
        if target not in options.PLATFORMS:
            raise RequestError(f"--target {target}: a rehearsal is of {' or '.join(options.PLATFORMS)}")
        return target
    there = [name for name in options.PLATFORMS if getattr(experiment.targets, name) is not None]
    if not there:
        either = " nor ".join(f"targets.{name}" for name in options.PLATFORMS)
        raise RequestError(f"{experiment.name} has neither {either}: a rehearsal is of a schedule on a platform")
    return "vertex" if "vertex" in there else there[0]


def _timing(experiment: "Experiment", target: str, end: str | None) -> "Timing":
    from pipelines.schedules.files import require_cron
    from pipelines.timing import Timing
    from pipelines.timing.calendar import moment
    from pipelines.timing.cron import portable

    section = experiment.schedule
    if section is None:
        raise RequestError(
            f"schedule: missing; {experiment.name} has no nights to rehearse: --set schedule='0 2 * * *'"
        )
    zone = section.timezone
    catch_up: CatchUp = "last" if target == "kubeflow" else "none"
    timing = Timing(section.when, zone, end=None if end is None else moment("--end", end, zone), catch_up=catch_up)
    require_cron(timing, target)
    return replace(timing, cron=portable(timing.cron))


def _samples(given: Sequence[str]) -> dict[str, Path]:
    found = {}
    for text in given:
        key, equals, file = text.partition("=")
        if not (key and equals and file):
            raise RequestError(f"--sample {text}: expected KEY=FILE, such as path=small.csv")
        found[key] = Path(file)
    return found


def _line(night: "Night") -> str:
    planted = f", {night.fault}" if night.fault else ""
    said = f": {night.outcome}" if night.outcome else ""
    told = "" if night.notified == "nobody" else f"; {night.notified} is told"
    which = "a sweep" if night.kind == "sweep" else f"night {night.number}"
    return f"{which}, {night.tick} ({night.kind}{planted}): {night.status}{said}{told}"


def _block(flaw: "Flaw") -> str:
    return f"✗ {flaw.name}, {flaw.where}: {flaw.found}\n  {flaw.breaks}\n  → {flaw.remedy}"
