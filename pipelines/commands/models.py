"""`elboflow models`: the registered models, their versions and the history of their champions."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elboflow.settings import WorkError
from pipelines.commands import tracking
from pipelines.commands.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from pipelines.commands.outcome import tell

if TYPE_CHECKING:
    from components.registry.catalogue import Listed, Shown
    from components.registry.decisions.record import Event

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A registered model, such as digits-vae.")]
VersionArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="A version: models:/NAME/VERSION or models:/NAME@ALIAS.")
]
_DIGITS = 12  # of a digest that is shown

app = typer.Typer(help="List, compare and promote registered models, and check the history of their champions.")


@app.command("list")
def listed(
    dataset: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Only versions that were made of this dataset.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    tracking_uri: tracking.StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the versions of all registered models, the newest of each first."""
    from components.registry import catalogue
    from pipelines.console import print_table

    with tracking.reading("the registry", workspace, tracking_uri) as (client, _):
        found = catalogue.all_versions(client, dataset)
    if as_json:
        print(json.dumps({"versions": [asdict(version) for version in found]}))
    elif not found:
        tell("no registered versions" + (" of that dataset" if dataset else " yet; `elboflow run` registers one"))
    else:
        rows = [(f"{v.model}/{v.version}", ", ".join(v.aliases), *_made_of(v), v.reason or "") for v in found]
        print_table(("version", "aliases", "dataset", "run", "why"), rows)


@app.command()
def show(
    version: VersionArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    tracking_uri: tracking.StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a version: its metrics, and all that it was made of."""
    from components.registry import catalogue
    from components.registry.resolve import version_of
    from pipelines.commands.summary import metrics_table
    from pipelines.console import make_console

    with tracking.reading(version, workspace, tracking_uri) as (client, uri):
        found = catalogue.show(client, uri, version_of(client, version))
    if as_json:
        print(json.dumps(_values(found)))
        return
    print(f"{found.listed.model} version {found.listed.version}")
    for name, value in _lineage(found).items():
        print(f"  {name:<14}{value}")
    make_console().print(metrics_table(found.metrics))


@app.command()
def compare(
    one: VersionArgument,
    other: VersionArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    tracking_uri: tracking.StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show two versions side by side: metrics, paired differences of the same examples, and settings that differ."""
    from components.registry import catalogue
    from components.registry.resolve import version_of
    from pipelines.console import print_table

    with tracking.reading(one, workspace, tracking_uri) as (client, uri):
        found = catalogue.compare(client, uri, version_of(client, one), version_of(client, other))
    if as_json:
        paired = {name: asdict(comparison) for name, comparison in found.by_metric.items()}
        both = {"one": _values(found.one), "other": _values(found.other)}
        print(json.dumps({**both, "settings": found.settings, "paired": paired, "incomparable": found.incomparable}))
        return
    names = [f"{side.listed.model}/{side.listed.version}" for side in (found.one, found.other)]
    rows = []
    for name in {**found.one.metrics, **found.other.metrics}:
        sides = [side.metrics.get(name) for side in (found.one, found.other)]
        shown = ["" if side is None else f"{side.shown[0]} ({side.shown[1]} … {side.shown[2]})" for side in sides]
        rows.append((name, *shown, str(found.by_metric.get(name, ""))))
    print_table(("metric", *names, "first minus second, on the same examples"), rows)
    if found.incomparable:
        tell(f"no paired differences: {found.incomparable}")
    if found.settings:
        print()
        print_table(("setting", *names), [(name, a or "", b or "") for name, (a, b) in found.settings.items()])


@app.command()
def promote(
    version: VersionArgument,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept in the history.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    tracking_uri: tracking.StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a version the champion, whatever a comparison says."""
    from components.registry import champion
    from components.registry.resolve import version_of

    with tracking.writing(version, workspace, tracking_uri) as client:
        found = version_of(client, version)
        _told(found.name, champion.promote_by_hand(client, found, reason), as_json)


@app.command()
def rollback(
    name: NameArgument,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it is kept in the history.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    tracking_uri: tracking.StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the champion before the current one the champion again."""
    from components.registry import champion
    from components.registry.resolve import model_of

    with tracking.writing(name, workspace, tracking_uri) as client:
        model = model_of(client, name).name
        _told(model, champion.roll_back(client, model, reason), as_json)


@app.command()
def history(
    name: NameArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    tracking_uri: tracking.StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which version was the champion when, and why; the newest first."""
    from components.registry.decisions.history import open_history
    from components.registry.resolve import model_of, versions_of
    from pipelines.console import print_table

    with tracking.reading(name, workspace, tracking_uri) as (client, uri):
        model = model_of(client, name).name
        events = open_history(client, uri, model).events
        there = {int(version.version) for version in versions_of(client, model)}
    if as_json:
        print(json.dumps({"model": model, "events": [event.model_dump(mode="json") for event in events]}))
        return
    if not events:
        tell(f"{model} has no history yet: its next registration begins one")
        return

    def shown(version: int | None) -> str:
        return "" if version is None else f"{version}{'' if version in there else ' (deleted)'}"

    rows = [
        (f"{event.at:%Y-%m-%d %H:%M}", event.kind, shown(event.version), shown(event.champion), event.reason)
        for event in reversed(events)
    ]
    print_table(("UTC", "what", "version", "champion then", "why"), rows)


@app.command()
def verify(
    name: NameArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    tracking_uri: tracking.StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make every decision of a history again from the stored values, and compare."""
    from components.registry.decisions import verify as checks
    from components.registry.decisions.history import open_history
    from components.registry.resolve import model_of

    with tracking.reading(name, workspace, tracking_uri) as (client, uri):
        model = model_of(client, name).name
        found = checks.verify(open_history(client, uri, model))
    for line in (*found.problems, *(f"not checked: {line}" for line in found.gone)):
        tell(line)
    if as_json:
        print(json.dumps({"model": model, **asdict(found)}))
    else:
        print(
            f"{model}: {found.events} events, {found.recomputed} comparisons made again, "
            f"{len(found.problems)} differ; decided by {', '.join(found.deciders) or 'nothing yet'}"
        )
    if found.problems:
        raise WorkError(f"the history of {model} is not what its stored values say")


def _told(model: str, event: "Event", as_json: bool) -> None:
    if as_json:
        print(json.dumps({"model": model, "champion": event.champion, "before": event.before, "reason": event.reason}))
    else:
        before = f", before it version {event.before}" if event.before is not None else ""
        print(f"{model} version {event.champion} is the champion now{before}")


def _made_of(version: "Listed") -> tuple[str, str]:
    return (version.dataset or "")[:_DIGITS], version.run or ""


def _lineage(found: "Shown") -> dict[str, str]:
    listed = found.listed
    lines = {
        "aliases": ", ".join(listed.aliases),
        "why": listed.reason,
        "run": listed.run,
        "MLflow run": found.page or found.mlflow_run,
        "report": found.report,
        "dataset": listed.dataset,
        "of the same": ", ".join(f"version {number}" for number in found.same_dataset),
        "settings": found.config,
        "code": found.code,
        "weights": found.weights,
        "differs here": "; ".join(found.differs_here),
    }
    return {name: value for name, value in lines.items() if value}


def _values(found: "Shown") -> dict[str, Any]:
    from elboflow.vae.evaluation import metrics

    shown = asdict(found)
    return {**shown.pop("listed"), **shown, "metrics": metrics.as_json(found.metrics)}
