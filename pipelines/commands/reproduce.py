"""`elboflow reproduce`: dataset and weights of a registered version, made again from its lineage, and compared."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elboflow.settings import RequestError, WorkError
from pipelines.commands import options, tracking, workspaces
from pipelines.commands.outcome import show_log, tell

if TYPE_CHECKING:
    from components.registry.lineage import Lineage
    from pipelines.experiment import Experiment

_NOT_MADE = "not made"
# Where checkpoints are kept, a run of the same experiment may be at work, or have left what this one would resume from.
_APART = ["training.checkpoints.folder=null"]
_DIGITS = 16  # of a digest that is shown


@dataclass(frozen=True)
class Compared:
    """A thing that is recorded and was made again.

    Attributes:
        step: What it is.
        recorded: What the lineage says of it.
        found: What it is here; `not made` where a step before it differs.
        same: Whether both are equal.
        difference: What differs first; None where nothing does.
    """

    step: str
    recorded: str
    found: str
    same: bool
    difference: str | None = None


def reproduce(
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="A version: models:/NAME/VERSION or models:/NAME@ALIAS.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder to write, which must be empty; by default a new one in the workspace.",
            parser=str,
            callback=options.local,
        ),
    ] = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    tracking_uri: tracking.StoreOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Make dataset and weights of a registered version again from its lineage alone, and compare them.

    Exits with 0 if all is the same, with 1 if something differs, and with 2 if nothing was started.
    """
    from components.registry import lineage, resolve
    from components.tracking import store
    from elboflow.artifacts import lock
    from elboflow.artifacts.temporary import temporary_folder
    from pipelines.console import print_table
    from pipelines.targets.local.surroundings import tracking_uri as address

    place = workspaces.found(workspace)
    uri = address(None, place, tracking_uri)
    client = resolve.existing(uri, version)
    with temporary_folder() as temporary:
        with store.explained(uri):
            found = resolve.version_of(client, version)
            recorded = lineage.read(client, found, temporary)
        if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise RequestError(f"--output {output}: is not empty; what is made again needs a folder of its own")
        experiment = _experiment(recorded)
        output = output or _new_folder(place.reproduced, f"{found.name}-{found.version}")
        elsewhere = recorded.differences_here()
        for line in elsewhere:
            tell(f"differs here: {line}")
        show_log()
        originals = [path for path in (recorded.original, str(place.datasets / recorded.dataset.digest)) if path]
        output.mkdir(parents=True, exist_ok=True)
        lock.hold(output, patience=0)  # as long as this process is at it, `elboflow clean` takes it not
        rows = list(_rows(recorded, experiment, originals, output))
    first = next((f"{row.step}: {row.difference}" for row in rows if not row.same), None)
    if as_json:
        values = {"version": recorded.name, "output": str(output), "same": first is None, "first": first}
        print(json.dumps({**values, "steps": [asdict(row) for row in rows], "elsewhere": elsewhere}))
    else:
        shown = [(row.step, row.recorded, row.found, "yes" if row.same else "no") for row in rows]
        print_table(("step", "recorded", "found", "same"), shown)
    if first is not None:
        why = f"; the training was elsewhere: {'; '.join(elsewhere)}" if elsewhere else ""
        raise WorkError(f"{recorded.name} is not reproduced; first differs {first}{why}")


def _new_folder(parent: Path, name: str) -> Path:
    """Makes an empty folder of that name, or of the first of `name-2`, `name-3`, … that is not there."""
    folder, number = parent / name, 1
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            folder = parent / f"{name}-{number}"
        else:
            return folder


def _experiment(recorded: "Lineage") -> "Experiment":
    """Returns the recorded experiment, which is checked for what it needs here.

    Raises:
        RequestError: It cannot be run here; nothing was started.
    """
    from elboflow.artifacts.temporary import temporary_folder
    from elboflow.vae.compute import check, devices
    from pipelines.experiment import load
    from pipelines.targets.local.surroundings import limit_threads
    from preprocessing import sources

    with temporary_folder() as folder:
        file = folder / "experiment.json"  # JSON is YAML
        file.write_text(json.dumps(recorded.experiment), encoding="utf-8")
        experiment = load(str(file), options.on_date(recorded.date, _APART))
    if experiment.data.source.is_dated and recorded.date is None:
        raise RequestError(
            f"the lineage of {recorded.name} is incomplete: its data are of a date, which its run does not name"
        )
    sources.check(experiment.data_of_date)
    check(experiment.training.backend)
    devices.require(experiment.training.device)
    limit_threads(experiment)
    return experiment


def _rows(recorded: "Lineage", experiment: "Experiment", originals: list[str], output: Path) -> Iterator[Compared]:
    """Yields what is compared, step by step; a step whose input differs is not made."""
    from components.evaluate import evaluate
    from components.preprocess import preprocess
    from components.registry import likeness
    from components.train import train
    from elboflow import artifacts

    changed = recorded.contradictions
    yield Compared(
        "settings", "of the run", "other" if changed else "the same", not changed, changed[0] if changed else None
    )

    made = preprocess(experiment.data_of_date, output / "dataset")
    data = _dataset(recorded, experiment, originals, made.folder)
    yield data
    metric = experiment.registry.decides_by
    value = recorded.evaluated.facts.metrics.get(metric)
    if not data.same and not likeness.same_records(recorded.dataset, made.manifest):
        yield Compared("weights", recorded.weights[:_DIGITS], _NOT_MADE, False, "its data differ")
        yield Compared(metric, _shown(value), _NOT_MADE, False, "its data differ")
        return

    trained = train(output / "dataset", output / "model", experiment.model, experiment.training, experiment.seed)
    if trained is None:
        raise RequestError("this process is not the first host of its cluster; run it on one host")
    other = likeness.first_weight(recorded.network, trained)
    stored = artifacts.sha256(recorded.network)
    if stored != recorded.weights:
        where = other or "no number differs, the rest of the file does"
        yield Compared("stored weights", recorded.weights[:_DIGITS], stored[:_DIGITS], False, where)
    same = trained.weights == recorded.weights
    difference = None if same else other or "no number differs, the rest of the file does"
    yield Compared("weights", recorded.weights[:_DIGITS], trained.weights[:_DIGITS], same, difference)

    folders = output / "dataset", output / "model", output / "evaluation"
    now = evaluate(*folders, experiment.evaluation, experiment.seed).facts.metrics.get(metric)
    told = None if now == value else f"{value!r} recorded, {now!r} found"
    yield Compared(metric, _shown(value), _shown(now), told is None, told)


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _dataset(recorded: "Lineage", experiment: "Experiment", originals: list[str], folder: str) -> Compared:
    """Returns how a dataset compares with the recorded one: by its digest, then by its records."""
    from components.registry import likeness
    from preprocessing import address
    from preprocessing.reader import open_dataset

    found, was = open_dataset(folder), recorded.dataset
    same_digest = was.digest in address.digests(experiment.data_of_date, found.manifest.source.fingerprint)
    same = same_digest and likeness.same_records(was, found.manifest)
    difference = None
    if likeness.same_records(was, found.manifest):
        if not same_digest:
            difference = "source or settings have another digest, all records are the same"
    else:
        for place in originals:
            try:
                original = open_dataset(place)
                if original.manifest.digest == was.digest:
                    difference = likeness.first_record(original, found)
                    break
            except WorkError:  # it is gone, or damaged
                continue
        difference = difference or f"{likeness.first_fact(was, found.manifest)}; the first dataset is gone"
    now = was.digest if same_digest else found.manifest.digest
    return Compared("dataset", was.digest[:_DIGITS], now[:_DIGITS], same, difference)
