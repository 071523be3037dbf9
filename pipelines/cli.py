"""The command line: `elboflow …`. Results go to standard output, everything else to standard error."""

from typing import Annotated

import typer

from elboflow import __version__
from pipelines.commands import (
    clean,
    describe,
    doctor,
    models,
    one_run,
    rehearse,
    reproduce,
    run,
    runs,
    schedule,
    scheduler,
    step,
    sweep,
    ui,
    use,
)
from pipelines.commands.outcome import Commands, traceback_told
from pipelines.step_process.start import prepare, use_utf8

app = typer.Typer(
    name="elboflow",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A production pipeline for variational autoencoders: preprocess → train → evaluate → register.",
    epilog="EXPERIMENT is a YAML file or a ready-made name. MODEL is a model folder, a run, or models:/NAME@champion.",
)


def _version(is_asked: bool) -> None:
    if is_asked:
        print(f"elboflow {__version__}")
        raise typer.Exit


@app.callback()
def _elboflow(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Takes the options that stand before a command."""


app.command()(run.run)
app.command()(one_run.status)
app.command()(one_run.logs)
app.command()(one_run.cancel)
app.add_typer(runs.app, name="runs")
app.add_typer(schedule.app, name="schedule")
app.command()(scheduler.scheduler)
app.command()(sweep.sweep)
app.add_typer(step.app, name="step")
app.command()(describe.compile)
app.command()(describe.publish)
app.command()(describe.experiments)
app.command()(describe.init)
app.command()(describe.config)
app.command()(doctor.doctor)
app.command()(rehearse.rehearse)
app.command()(clean.clean)
app.command()(use.generate)
app.command()(use.reconstruct)
app.add_typer(models.app, name="models")
app.command()(reproduce.reproduce)
app.command()(ui.ui)


def main() -> None:
    """Runs the command that the process was started with."""
    use_utf8()
    prepare()
    with traceback_told():
        app()
