"""`elboflow generate` and `reconstruct`: examples from a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from elboflow.settings import RequestError
from pipelines.commands import options, tracking, workspaces
from pipelines.commands.outcome import show_log

OutputOption = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        help="A .png, a grid of images; a .txt, texts; a .csv, a table; or a .npz, the values.",
        parser=str,
        callback=options.local,
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Fixes what is drawn.")]


def generate(
    model: options.ModelArgument,
    output: OutputOption,
    n: Annotated[int, typer.Option("--n", min=1, help="Number of examples.")] = 64,
    seed: SeedOption = 0,
    given: Annotated[
        list[str] | None, typer.Option(metavar="FEATURE=VALUE", help="What a conditional model is conditioned on.")
    ] = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    tracking_uri: tracking.StoreOption = None,
) -> None:
    """Make new examples with a trained model."""
    from components import predict

    show_log()
    predict.generate(_folder(model, workspace, tracking_uri), output, n, seed, _given(given or []))
    print(output)


def reconstruct(
    model: options.ModelArgument,
    dataset: options.DatasetOption,
    output: OutputOption,
    split: Annotated[str, typer.Option(help="The split to take examples from.")] = "test",
    n: Annotated[int, typer.Option("--n", min=1, help="Number of examples, at most all.")] = 32,
    seed: SeedOption = 0,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    tracking_uri: tracking.StoreOption = None,
) -> None:
    """Pass a dataset's examples through a trained model, and show them beside the originals."""
    from components import predict

    options.must_be_folders(dataset)
    show_log()
    predict.reconstruct(_folder(model, workspace, tracking_uri), dataset, output, split, n, seed)
    print(output)


def _given(words: list[str]) -> dict[str, str]:
    """Returns what was given as FEATURE=VALUE, by feature; the kind of the feature reads the value.

    Raises:
        RequestError: One is written otherwise, or a feature is given twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not (name and sign and value):
            raise RequestError(f"--given {word}: FEATURE=VALUE is expected")
        if name in found:
            raise RequestError(f"--given {word}: {name!r} is given twice; the first time as {found[name]!r}")
        found[name] = value
    return found


def _folder(model: str, workspace: Path, option: str | None) -> Path:
    from components.registry import resolve
    from pipelines.targets.local import artifacts
    from pipelines.targets.local.surroundings import tracking_uri

    place = workspaces.found(workspace)
    if (made := artifacts.of_run(place.runs / model).get("model")) is not None:
        model = made.uri  # where a run began after its training, a folder of another run
    return resolve.resolve(model, place.runs, tracking_uri(None, place, option))
