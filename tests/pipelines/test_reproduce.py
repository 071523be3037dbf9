"""`elboflow reproduce`, over a version that was really trained and registered in an MLflow on SQLite."""

import io
import json
import logging
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from components.registry import versions
from components.tracking import store
from elboflow.artifacts.manifest import sealed
from elboflow.vae.keras_file import WEIGHTS
from pipelines.cli import app
from pipelines.experiment import load

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

IMAGES = np.random.default_rng(0).integers(0, 17, (120, 4, 4, 1))
LABELS = np.arange(120) % 3
SETTINGS = {
    "name": "tiny",
    "data": {
        "features": {"image": {"kind": "image", "shape": [4, 4, 1], "range": [0, 16]}, "label": "category"},
        "splits": {"train": 0.6, "validation": 0.2, "test": 0.2},
    },
    "model": {"latent": 2, "encoder": {"kind": "mlp", "hidden": [8]}, "decoder": {"kind": "mlp", "hidden": [8]}},
    "training": {"epochs": 1, "batch_size": 32},
    "evaluation": {"bound_samples": 2, "bootstrap_samples": 100},
    "registry": {"canary": False, "baseline": False},
}
INCOMPLETE = "the lineage of models:/tiny-vae/1 is incomplete: "

WRITTEN = ("experiment.json", "dataset.json", "environment.json")


@dataclass(frozen=True)
class Place:
    """A copy of what a registered run left, which a test may change.

    Attributes:
        workspace: The workspace, with MLflow's database and files.
        source: The file that the data came from; all copies have this one.
    """

    workspace: Path
    source: Path

    def reproduce(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["reproduce", *words, "--workspace", str(self.workspace)])

    def file(self, name: str) -> Path:
        """Returns the only file of that name among MLflow's."""
        (found,) = (self.workspace / "mlartifacts").rglob(name)
        return found

    def change(self, name: str, change: Callable[[Any], None]) -> None:
        """Changes a JSON file among MLflow's; a manifest gets the checksum of its new content."""
        values = json.loads(self.file(name).read_text(encoding="utf-8"))
        change(values)
        text = sealed(values) if "checksum" in values else json.dumps(values)
        self.file(name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, tensorflow_backend: None) -> Place:
    from components.evaluate import evaluate
    from components.preprocess import preprocess
    from components.register import register
    from components.train import train

    place = tmp_path_factory.mktemp("reproduce")
    source = place / "images.npz"
    np.savez(source, image=IMAGES, label=LABELS)
    values = {**SETTINGS, "data": {**SETTINGS["data"], "source": {"kind": "npz", "path": str(source)}}}  # type: ignore[dict-item]
    (place / "tiny.yaml").write_text(json.dumps(values), encoding="utf-8")
    experiment = load(str(place / "tiny.yaml"))
    folders = place / "dataset", place / "model", place / "evaluation"
    preprocess(experiment.data, folders[0])
    train(folders[0], folders[1], experiment.model, experiment.training, experiment.seed)
    evaluate(folders[0], folders[1], folders[2], experiment.evaluation, experiment.seed)
    (place / "workspace").mkdir()
    uri = f"sqlite:///{place}/workspace/mlflow.db"
    register(*folders, experiment.registry, experiment.recorded(), "tiny-1", uri)
    return Place(place / "workspace", source)


@pytest.fixture
def place(registered: Place, tmp_path: Path) -> Iterator[Place]:
    shutil.copytree(registered.workspace, tmp_path / "workspace")
    store.mended(f"sqlite:///{tmp_path}/workspace/mlflow.db")
    source, logger = registered.source.read_bytes(), logging.getLogger("elboflow")
    propagates = logger.propagate
    yield Place(tmp_path / "workspace", registered.source)
    registered.source.write_bytes(source)
    logger.propagate = propagates


def test_what_a_run_was_made_from_is_also_found_where_older_runs_have_it(place: Place, tmp_path: Path) -> None:
    client = store.connect(f"sqlite:///{place.workspace}/mlflow.db")
    (run_id,) = (version.run_id for version in client.search_model_versions("name = 'tiny-vae'"))
    new = {name: versions.lineage_file(client, run_id, name, tmp_path).read_bytes() for name in WRITTEN}
    had = versions.trained_with(client, run_id)
    for name in WRITTEN:
        folder = place.file(name).parent
        place.file(name).rename(folder.parent / name)
    folder.rmdir()
    assert new == {name: versions.lineage_file(client, run_id, name, tmp_path).read_bytes() for name in WRITTEN}
    assert versions.trained_with(client, run_id) == had != {}


@pytest.mark.slow
def test_a_registered_version_is_reproduced_bit_for_bit(place: Place, tmp_path: Path) -> None:
    done = place.reproduce("models:/tiny-vae@champion", "--json", "--output", str(tmp_path / "again"))
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["same"], told["first"], told["elsewhere"]) == (True, None, [])
    assert [step["step"] for step in told["steps"]] == ["settings", "dataset", "weights", "log_likelihood"]
    assert all(step["same"] and step["recorded"] and step["difference"] is None for step in told["steps"])
    assert (tmp_path / "again" / "model" / "model.keras").read_bytes() == place.file("model.keras").read_bytes()
    again = place.reproduce("tiny-vae/1", "--output", str(tmp_path / "again"))
    assert again.exit_code == 2
    assert (
        again.stderr
        == f"error: --output {tmp_path / 'again'}: is not empty; what is made again needs a folder of its own\n"
    )


def test_a_second_try_has_a_folder_of_its_own(place: Place) -> None:
    (place.workspace / "reproduced/tiny-vae-1/dataset").mkdir(parents=True)  # of a try that was killed
    place.source.write_bytes(b"")  # so that it ends after it has begun
    tried = place.reproduce("tiny-vae/1")
    assert tried.exit_code == 1, tried.stderr
    assert "is not empty" not in tried.stderr
    assert (place.workspace / "reproduced/tiny-vae-1-2").is_dir()


def test_a_version_is_shown_with_its_report_and_with_what_differs_here(place: Place) -> None:
    place.change("environment.json", lambda environment: environment.update(numpy="1.26.4"))
    shown = CliRunner().invoke(app, ["models", "show", "tiny-vae/1", "--json", "--workspace", str(place.workspace)])
    assert shown.exit_code == 0, shown.stderr
    told = json.loads(shown.stdout)
    report = place.file("environment.json").parents[1] / "report.html"
    assert report.is_file()
    assert told["report"] == str(report)
    assert told["environment"]["hosts"] == "1"
    assert told["differs_here"] == [f"numpy: 1.26.4 there, {np.__version__} here"]


def test_a_changed_value_of_the_source_names_its_record_and_a_package_of_another_version_is_told(place: Place) -> None:
    def older(model: dict[str, Any]) -> None:
        model["provenance"]["environment"]["numpy"] = "1.26.4"

    np.savez(place.source, image=IMAGES, label=np.where(np.arange(120) == 17, 2 - LABELS, LABELS))
    place.change("model.json", older)
    done = place.reproduce("tiny-vae/1")
    assert done.exit_code == 1
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "step",
        "settings",
        "dataset",
        "weights",
        "log_likelihood",
    ]
    assert "not made" in done.stdout
    assert f"differs here: numpy: 1.26.4 there, {np.__version__} here" in done.stderr
    assert "is not reproduced; first differs dataset: " in done.stderr
    assert ": 'label' is 2 recorded, 0 found; the training was elsewhere: numpy: 1.26.4 there" in done.stderr


def test_a_changed_example_is_a_record_that_is_not_made_any_more(place: Place) -> None:
    images = IMAGES.copy()
    images[17] = 16 - images[17]
    np.savez(place.source, image=images, label=LABELS)
    done = place.reproduce("tiny-vae/1")
    assert done.exit_code == 1
    assert "is not made any more (1 such)" in done.stderr


def test_without_the_first_dataset_a_statistic_and_a_shard_are_named(registered: Place, place: Place) -> None:
    np.savez(place.source, image=IMAGES, label=np.where(np.arange(120) == 17, 2 - LABELS, LABELS))
    dataset = registered.workspace.parent / "dataset"
    dataset.rename(dataset.with_name("elsewhere"))
    try:
        done = place.reproduce("tiny-vae/1")
    finally:
        dataset.with_name("elsewhere").rename(dataset)
    assert done.exit_code == 1
    assert "summaries.label." in done.stderr
    assert "-00000-of-00001.tfrecord, of " in done.stderr
    assert "the first dataset is gone" in done.stderr


def test_a_changed_setting_of_the_recorded_experiment_is_named(place: Place) -> None:
    place.change("experiment.json", lambda experiment: experiment["data"]["splits"].update(train=0.5, test=0.3))
    done = place.reproduce("tiny-vae/1")
    assert done.exit_code == 1
    assert "first differs settings: data.splits.train is 0.5 in experiment.json, and was 0.6 in the run" in done.stderr


@pytest.mark.slow  # trains again
def test_altered_weights_are_named_by_their_variable(place: Place) -> None:
    path = place.file("model.keras")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    stored = io.BytesIO(parts[WEIGHTS])
    with h5py.File(stored, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, found: names.append(name) if hasattr(found, "shape") else None)
        file[names[0]][0] += 0.5
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**parts, WEIGHTS: stored.getvalue()}.items():
            archive.writestr(name, content)
    done = place.reproduce("tiny-vae/1")
    assert done.exit_code == 1
    rows = {line.split()[0]: line.split()[-1] for line in done.stdout.splitlines()}
    assert rows == {
        "step": "same",
        "settings": "yes",
        "dataset": "yes",
        "stored": "no",
        "weights": "yes",
        "log_likelihood": "yes",
    }
    assert f"first differs stored weights: {names[0]} differs in " in done.stderr
    assert "by up to 0.5" in done.stderr


@pytest.mark.parametrize(
    ("version", "harm", "told"),
    [
        ("tiny-vae/7", lambda place: None, "tiny-vae has no version '7'"),
        (
            "tiny-vae/1",
            lambda place: place.file("experiment.json").unlink(),
            f"{INCOMPLETE}MLflow does not have experiment.json of the run ",
        ),
        (
            "tiny-vae/1",
            lambda place: place.file("dataset.json").unlink(),
            f"{INCOMPLETE}MLflow does not have dataset.json of the run ",
        ),
        (
            "tiny-vae/1",
            lambda place: place.file("evaluation.json").unlink(),
            f"{INCOMPLETE}…/evaluation/evaluation is not a finished evaluation folder: it holds no evaluation.json",
        ),
        (
            "tiny-vae/1",
            lambda place: place.change(
                "experiment.json", lambda values: values["data"]["source"].update(path="/***/x")
            ),
            f"{INCOMPLETE}its recorded experiment held a secret",
        ),
        ("tiny-vae/1", lambda place: place.source.unlink(), ""),
    ],
)
def test_what_cannot_be_started_is_told_in_a_sentence(
    place: Place, version: str, harm: Callable[[Place], None], told: str
) -> None:
    harm(place)
    done = place.reproduce(version)
    assert done.exit_code == 2, done.stderr
    assert done.stderr.startswith(f"error: {told}")
    assert done.stderr.count("\n") == 1
    assert not (place.workspace / "reproduced").exists()
