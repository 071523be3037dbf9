"""`elboflow doctor`: whether everything that a run needs is there."""

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from elboflow.settings import RequestError
from pipelines.commands import options, tracking

if TYPE_CHECKING:
    from rich.text import Text

    from pipelines.targets.checks import Finding

SIGNS = {"ok": ("✓", "green"), "problem": ("✗", "red"), "unknown": ("–", "yellow")}


def doctor(
    target: options.TargetOption = "local",
    experiment: Annotated[
        str | None,
        typer.Option(
            metavar="EXPERIMENT", help="What is to run; needed for kubeflow and vertex.", callback=options.named
        ),
    ] = None,
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    tracking_uri: tracking.TrackingOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Check what a run needs, here and on a platform: each line says what was found, and what to do about it."""
    from components.surroundings.masking import masked_values
    from pipelines.console import make_console
    from pipelines.doctor import examine
    from pipelines.experiment import load

    if experiment is None and (env is not None or assignments):
        raise RequestError("--env and --set change an experiment: say with --experiment which")
    os.environ.setdefault("GCE_METADATA_TIMEOUT", "1")  # else Google's library looks for a machine of theirs for 9 s
    assignments = tracking.recorded_in(tracking_uri, assignments, target)
    wanted = load(experiment, assignments, env) if experiment is not None else None
    found = []
    console = make_console()
    for finding in examine(target, wanted, workspace):
        found.append(finding)
        if not as_json:
            console.print(_line(finding))
    is_ok = all(finding.state != "problem" for finding in found)
    if as_json:
        print(json.dumps({"ok": is_ok, "target": target, "findings": masked_values([asdict(each) for each in found])}))
    if not is_ok:
        raise typer.Exit(1)


def _line(finding: "Finding") -> "Text":
    from rich.text import Text

    sign, colour = SIGNS[finding.state]
    remedy = ("\n  → " + finding.remedy, "bold") if finding.remedy else ""
    return Text.assemble((sign, colour), f" {finding.what}: {finding.found}", remedy)
