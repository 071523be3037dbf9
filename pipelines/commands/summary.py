"""The last lines of a run and of a sweep: what was measured, whether it is the champion, and where to look."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.commands.ui import pages

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from elboflow.vae.evaluation.metrics import Metrics
    from pipelines.targets.local.execution import Run
    from pipelines.targets.local.sweep import Swept


def summarise_run(done: "Run", workspace: Path) -> None:
    """Prints what a run has left."""
    from elboflow.settings.text import short_path
    from elboflow.vae.evaluation import folder
    from pipelines.console import make_console

    console = make_console(stderr=True)
    console.print()
    if done.evaluation is None or done.mlflow is None:
        made = {"dataset": done.dataset, "model": done.model, "evaluation": done.evaluation, "report": done.report}
        for name, path in made.items():
            if path is not None:
                console.print(f"{name}: {short_path(path)}")
        return
    console.print(metrics_table(folder.load(Path(done.evaluation)).metrics, f"{done.run} on the test split"))
    console.print()
    _print_registration(console, done, done.mlflow, workspace)


def metrics_table(metrics: "Metrics", title: str | None = None) -> "Table":
    """Returns a table of metrics with their intervals."""
    from rich.table import Table

    table = Table("metric", "value", "95 % interval", box=None, title=title, title_justify="left")
    for name, metric in metrics.items():
        value, low, high = metric.shown
        table.add_row(name, value, f"{low} … {high}")
    return table


def summarise_sweep(done: "Swept", workspace: Path) -> None:
    """Prints what a sweep has left."""
    from components.sweep.trial import written
    from elboflow.settings.text import short_path
    from elboflow.vae.evaluation import folder
    from elboflow.vae.evaluation.metrics import summary
    from pipelines.console import make_console, print_table

    assert done.evaluation is not None
    assert done.mlflow is not None  # a sweep runs to its end
    console = make_console(stderr=True)
    keys = list(done.best)
    rows = []
    for tried in done.trials:
        bound = "" if tried["bound"] is None else f"{tried['bound']:.2f}"
        remark = "the best" if tried["best"] else "" if tried["status"] == "finished" else tried["status"]
        rows.append((bound, *(written(tried["values"][key]) for key in keys), remark))
    console.print(f"\n{done.run}")
    print_table(("validation ELBO", *keys, ""), rows, stderr=True)
    console.print(f"\nthe best on the test split: {summary(folder.load(Path(done.evaluation)).metrics)}")
    console.print(f"comparison: {short_path(done.comparison)}")
    _print_registration(console, done, done.mlflow, workspace)


def _print_registration(console: "Console", done: "Run", registered: dict[str, Any], workspace: Path) -> None:
    from elboflow.settings.text import short_path

    champion = "is the champion now" if registered["promoted"] else "is not the champion"  # `register` has said why
    console.print(f"{registered['model']} version {registered['version']} {champion}")
    if done.report is not None:
        console.print(f"report: {short_path(done.report)}")
    for line in pages(registered, workspace):
        console.print(line, soft_wrap=True)
