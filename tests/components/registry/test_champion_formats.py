"""A champion that an older, a newer or an unknown version wrote: it is compared, or the registration says why not."""

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.tracking import store
from elboflow.artifacts import manifest as manifests
from tests.components.runs import Run, write
from tests.opened import examples

FORMATS = Path(__file__).parents[2] / "formats"

pytestmark = pytest.mark.xdist_group("mlflow")

Written = Callable[..., Run]

CHANGES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "an unknown key": (
        lambda facts: {**facts, "model": {**facts["model"], "tomorrows": 1}},
        r"is damaged: model\.tomorrows: unknown key.*another version of ELBOflow wrote it",
    ),
    "no provenance": (
        lambda facts: {key: value for key, value in facts.items() if key != "provenance"},
        "is damaged: provenance: missing",
    ),
    "a newer format": (lambda facts: {**facts, "format": 4}, "written by a newer ELBOflow: its format is 4; this"),
    "a name outside": (
        lambda facts: {**facts, "files": {**facts["files"], "../../x": {"bytes": 0, "sha256": "0" * 64}}},
        "the file name '../../x' is not allowed",
    ),
    "no network": (
        lambda facts: {**facts, "files": {"curves.json": facts["files"]["curves.json"]}},
        "it does not list model.keras",
    ),
}


@pytest.mark.slow
def test_a_champion_that_cannot_be_read_is_said_and_the_registration_ends_well(
    written: Written, values: np.ndarray, tracking_uri: str, tmp_path: Path
) -> None:
    written("first", values).register(tracking_uri)
    (manifest,) = (tmp_path / "workspace/mlartifacts").rglob("model.json")
    facts = json.loads(manifest.read_text(encoding="utf-8"))
    client = store.connect(tracking_uri)
    for number, (what, (change, why)) in enumerate(CHANGES.items(), start=2):
        manifest.write_text(manifests.sealed(change(facts)), encoding="utf-8")
        registered = written(what, values + number).register(tracking_uri)
        assert not registered.promoted, what
        place = "models:/digits-vae/1/artifacts/model/model.json"
        assert re.match(f"cannot be compared with version 1, the champion: {place} .*{why}", registered.reason), what
        assert client.get_model_version_by_alias("digits-vae", "champion").version == 1
        assert client.get_model_version("digits-vae", str(number)).tags["elboflow.promoted"] == "false"
        assert client.get_run(registered.run_id).info.status == "FINISHED"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"flavors: [", "is damaged: it is no YAML"),
        (b"\xff\xff", "is damaged: it is no YAML"),
        pytest.param(b"[" * 50_000, "is damaged: it is no YAML", id="deep"),
        (b"? {a: b}\n: c", "is damaged: it is no YAML"),
        (b"time: 2020-13-45\nsize: !!int x", "it holds no model folder"),
        (b"flavors: {python_function: {artifacts: {model: {path: ../x}}}}", "the file name '../x' is not allowed"),
    ],
)  # fmt: skip
def test_a_champion_whose_mlmodel_is_damaged_is_said(
    content: bytes, why: str, written: Written, values: np.ndarray, tracking_uri: str, tmp_path: Path
) -> None:
    written("first", values).register(tracking_uri)
    (described,) = (tmp_path / "workspace/mlartifacts").rglob("MLmodel")
    described.write_bytes(content)
    registered = written("second", values + 1).register(tracking_uri)
    assert not registered.promoted
    assert registered.reason.startswith("cannot be compared with version 1, the champion: ")
    assert why in registered.reason


@pytest.mark.parametrize("version", ["98a35c2", "737760e"])
def test_a_champion_that_an_older_version_registered_wins_and_loses(
    version: str, tracking_uri: str, tmp_path: Path
) -> None:
    written = FORMATS / version
    _fill(tmp_path / "workspace", written)
    champion = store.connect(tracking_uri).get_model_version_by_alias("digits-vae", "champion")
    assert champion.version == 1
    assert champion.tags["elboflow.code"].startswith(version)
    dataset = written / "dataset"
    with np.load(written / "evaluation/examples.npz") as columns:
        theirs = columns["log_likelihood"][np.argsort(columns["key"])]
    order = np.argsort(np.argsort(examples(dataset, "test").keys))
    reasons = []
    for name, nats in (("worse", -1.0), ("better", 1.0)):
        run = Run(name, dataset, tmp_path / name / "model", tmp_path / name / "evaluation")
        reasons.append(write(run, theirs[order] + nats, "bernoulli", seed=0).register(tracking_uri).reason)
    assert reasons[0].startswith("worse than version 1, the champion: -1.000 nats")
    assert reasons[1].startswith("better than version 1, the champion: +1.000 nats")


def _fill(workspace: Path, written: Path) -> None:
    """Fills an empty workspace with the rows and artifacts of an MLflow in which a version registered its folders.

    `written/workspace` has what the registration added to the folders; there, {workspace} stands for the path.
    """
    shutil.copytree(written / "workspace/mlartifacts", workspace / "mlartifacts")
    (described,) = (workspace / "mlartifacts").rglob("MLmodel")
    described.write_text(described.read_text(encoding="utf-8").replace("{workspace}", str(workspace)), encoding="utf-8")
    shutil.copytree(written / "model", described.parent / "artifacts/model")
    (run,) = (path.parent for path in (workspace / "mlartifacts").rglob("experiment.json"))
    shutil.copytree(written / "evaluation", run / "evaluation")
    shutil.copy(written / "dataset/dataset.json", run)
    rows = (written / "workspace/rows.sql").read_text(encoding="utf-8").replace("{workspace}", str(workspace))
    with closing(sqlite3.connect(workspace / "mlflow.db")) as database:
        database.executescript(rows)
