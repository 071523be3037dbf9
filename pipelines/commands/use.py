"""`elboflow generate` and `reconstruct`: images from a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import workspaces
from pipelines.commands.options import (
    DEFAULT_WORKSPACE,
    DatasetOption,
    ModelArgument,
    WorkspaceOption,
    local,
    must_be_folders,
)
from pipelines.commands.outcome import show_log

ImagesOption = Annotated[
    Path, typer.Option(metavar="FILE", help="A .png, a grid; or a .npz, the values.", parser=str, callback=local)
]
SeedOption = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Fixes the images.")]


def generate(
    model: ModelArgument,
    output: ImagesOption,
    n: Annotated[int, typer.Option("--n", min=1, help="Number of images.")] = 64,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Make new images with a trained model."""
    from components import predict

    show_log()
    predict.generate(_folder(model, workspace), output, n, seed)
    print(output)


def reconstruct(
    model: ModelArgument,
    dataset: DatasetOption,
    output: ImagesOption,
    split: Annotated[str, typer.Option(help="The split to take examples from.")] = "test",
    n: Annotated[int, typer.Option("--n", min=1, help="Number of examples, at most all.")] = 32,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Pass a dataset's examples through a trained model, and show them beside the originals."""
    from components import predict

    must_be_folders(dataset)
    show_log()
    predict.reconstruct(_folder(model, workspace), dataset, output, split, n, seed)
    print(output)


def _folder(model: str, workspace: Path) -> Path:
    from components.registry import resolve

    place = workspaces.found(workspace)
    return resolve.resolve(model, place.runs, place.tracking_uri)
