"""The ready-made experiments of texts and tables, and a conditional model: their steps, and their models in use."""

import csv
import html
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.evaluate import evaluate
from components.predict import generate, reconstruct
from components.preprocess import preprocess
from components.register import register
from components.registry.predictor import Predictor
from components.registry.resolve import resolve
from components.train import train
from elboflow.settings import RequestError, WorkError
from elboflow.vae import folder
from elboflow.vae.evaluation import folder as evaluations
from pipelines.experiment import Experiment, load
from preprocessing.reader import open_dataset

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

ROOT = Path(__file__).parents[2]
QUICK = (
    "training.epochs=2",
    "evaluation.bound_samples=5",
    "evaluation.bootstrap_samples=100",
    "registry.canary=false",
    "registry.baseline=false",
)


@dataclass(frozen=True)
class Made:
    """What the steps of an experiment made."""

    experiment: Experiment
    dataset: Path
    model: Path
    evaluation: Path

    def register(self, tracking_uri: str, run: str = "run") -> Any:
        folders = self.dataset, self.model, self.evaluation
        experiment = self.experiment
        return register(*folders, experiment.registry, experiment.recorded(), run, tracking_uri)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Runs the steps before registration, once for each experiment."""
    known: dict[tuple[str, ...], Made] = {}

    def run(name: str, *assignments: str) -> Made:
        if (name, *assignments) not in known:
            experiment, place = load(name, [*QUICK, *assignments]), tmp_path_factory.mktemp(name)
            found = Made(experiment, place / "dataset", place / "model", place / "evaluation")
            preprocess(experiment.data, found.dataset)
            train(found.dataset, found.model, experiment.model, experiment.training, experiment.seed)
            evaluate(found.dataset, found.model, found.evaluation, experiment.evaluation, experiment.seed)
            known[name, *assignments] = found
        return known[name, *assignments]

    return run


@pytest.fixture(scope="module")
def text(made: Callable[..., Made]) -> Made:
    return made("text", "model.encoder.units=8", "model.decoder.units=8", "training.max_steps=20")


@pytest.fixture(scope="module")
def table(made: Callable[..., Made]) -> Made:
    return made("table")


@pytest.fixture(scope="module")
def conditional(made: Callable[..., Made]) -> Made:
    small = "{kind: mlp, hidden: [16]}"
    return made(
        "digits",
        "model.condition=label",
        "model.prior=conditional",
        f"model.encoder={small}",
        f"model.decoder={small}",
    )


def test_texts_are_read_by_symbol_and_made_up_symbol_by_symbol(text: Made, tmp_path: Path) -> None:
    spec = open_dataset(text.dataset).manifest.features["text"]
    assert spec.ragged
    assert len(spec.facts["vocabulary"]) > 50
    generate(text.model, tmp_path / "made.txt", 5)
    again = generate(text.model, tmp_path / "again.txt", 3)
    lines = (tmp_path / "made.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 5
    assert lines[:3] == (tmp_path / "again.txt").read_text(encoding="utf-8").splitlines()
    assert set("".join(again["text"].tolist())) <= set(spec.facts["vocabulary"]) | {"\ufffd"}
    reconstruct(text.model, text.dataset, tmp_path / "pairs.txt", count=4)
    assert len((tmp_path / "pairs.txt").read_text(encoding="utf-8").splitlines()) == 8
    with pytest.raises(RequestError, match=r"text \(tokens\) cannot be written as \.png; write \.txt or \.npz"):
        generate(text.model, tmp_path / "made.png")


@pytest.mark.slow
def test_a_report_of_texts_shows_texts_and_one_of_tables_their_columns(text: Made, table: Made) -> None:
    for found in (text, table):
        assert not (found.evaluation / "figures/samples.png").exists()
    samples = (text.evaluation / "figures/texts.txt").read_text(encoding="utf-8").splitlines()
    report = (text.evaluation / "report.html").read_text(encoding="utf-8")
    assert html.escape(samples[0]) in report
    assert "bits per dimension" in report
    assert "proline" in (table.evaluation / "report.html").read_text(encoding="utf-8")


def test_a_table_is_made_up_row_by_row_in_the_data_s_own_units(table: Made, tmp_path: Path) -> None:
    generate(table.model, tmp_path / "made.csv", 40)
    with (tmp_path / "made.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(folder.load(table.model).config.features)
    proline = [float(row["proline"]) for row in rows]
    assert 200 < np.mean(proline) < 1500
    assert np.std(proline) > 150, "rows are drawn, not means: 315 in the data"
    assert {row["label"] for row in rows} == {"0", "1", "2"}
    reconstruct(table.model, table.dataset, tmp_path / "pairs.csv", count=3)
    with (tmp_path / "pairs.csv").open(encoding="utf-8") as file:
        header = next(csv.reader(file))
    assert {"original_proline", "proline", "original_label", "label"} <= set(header)
    with pytest.raises(WorkError, match="makes values of 'proline' that are not finite"):
        Predictor.open(table.model).decode(np.full((1, table.experiment.model.latent), 1e38))


@pytest.mark.parametrize("name", ["text", "table"])
def test_a_registered_model_is_asked_about_raw_values(
    name: str, request: pytest.FixtureRequest, tracking_uri: str
) -> None:
    import mlflow
    import pandas as pd
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    found: Made = request.getfixturevalue(name)
    assert found.register(tracking_uri).promoted
    mlflow.set_tracking_uri(tracking_uri)
    model = mlflow.pyfunc.load_model(f"models:/{name}-vae@champion")
    raw = (
        pd.DataFrame({"text": ["the data set", "x", "a" * 32]})
        if name == "text"
        else pd.DataFrame(
            {column: [1.0, 2.0] for column in folder.load(found.model).config.features} | {"label": [0, 2]}
        )
    )
    bounds = model.predict(raw, params={"task": "score"})
    assert bounds.shape == (len(raw),)
    assert np.isfinite(bounds).all()
    assert model.predict(raw, params={"task": "encode"}).shape == (len(raw), found.experiment.model.latent)
    made = model.predict(raw)
    assert len(made if name == "text" else made["proline"]) == len(raw)

    client = TestClient(scoring_server.init(model))
    headers = {"Content-Type": "application/json"}
    asked = {"inputs": [], "params": {"task": "generate", "count": 3}}
    answer = client.post("/invocations", content=json.dumps(asked), headers=headers).json()["predictions"]
    assert len(answer if name == "text" else answer["proline"]) == 3
    nothing = {"dataframe_split": {"columns": list(raw.columns), "data": []}}
    refused = client.post("/invocations", content=json.dumps(nothing), headers=headers)
    assert refused.status_code == 400
    assert "the model takes at least 1" in refused.json()["message"]


def test_evaluations_of_texts_and_tables_name_their_metrics(text: Made, table: Made) -> None:
    for found in (text, table):
        metrics = evaluations.load(found.evaluation).metrics
        assert {"log_likelihood", "elbo", "reconstruction", "kl", "active_units"} <= metrics.keys()
        assert metrics["log_likelihood"].better == "higher"


def test_a_conditional_model_makes_examples_of_the_class_that_is_given(conditional: Made, tmp_path: Path) -> None:
    seven, one = (generate(conditional.model, tmp_path / "made.npz", 8, given={"label": label}) for label in (7, 1))
    assert seven["image"].shape == (8, 8, 8, 1)
    assert not np.array_equal(seven["image"], one["image"])
    for given, told in (({}, "conditioned on label; given: nothing"), ({"ink": 1}, "label; given: ink")):
        with pytest.raises(RequestError, match=told):
            generate(conditional.model, tmp_path / "made.npz", given=given)
    with pytest.raises(RequestError, match="label"):
        generate(conditional.model, tmp_path / "made.npz", given={"label": 10})


def test_a_conditional_model_is_served_with_a_condition_for_each_row(conditional: Made, tmp_path: Path) -> None:
    import mlflow

    from components.registry.serving import ServedVAE

    served = ServedVAE()
    served.load_context(SimpleNamespace(artifacts={"model": conditional.model}))

    def ask(inputs: Any, **params: Any) -> np.ndarray:
        answer: np.ndarray = served.predict(None, inputs, params)
        return answer

    both = ask({"label": [7, 1]}, task="generate", count=4)
    assert both.shape == (8, 8, 8, 1)
    np.testing.assert_allclose(
        both[:4], generate(conditional.model, tmp_path / "7.npz", 4, given={"label": 7})["image"]
    )
    examples = {"image": both, "label": [7] * 4 + [1] * 4}
    z = ask(examples, task="encode")
    np.testing.assert_allclose(ask({"z": z, "label": examples["label"]}, task="decode"), ask(examples), atol=1e-4)
    for inputs, task, told in (
        ([], "generate", "the model is conditioned on label; given: nothing"),
        (z, "decode", "the model is conditioned on label; given: nothing"),
        ({"z": z, "label": [7]}, "decode", "there are 8 rows of latents, and 1 of label"),
        ({"label": [10]}, "generate", "label"),
        ({"label": []}, "generate", "the model takes at least 1"),
        (both, "score", "the model takes columns by name: image, label"),
        ({"image": both}, "score", "there is no 'label'"),
    ):
        with pytest.raises(mlflow.MlflowException, match=told):
            ask(inputs, task=task)


WITHOUT_PREPROCESSING = """
import sys
sys.modules |= dict.fromkeys(["pyarrow", "google_crc32c", "apache_beam", "yaml", "PIL", "sklearn"])
import numpy as np
from components.registry.predictor import Predictor
for folder in sys.argv[1:]:
    predictor = Predictor.open(folder)
    config, specs = predictor.trained.config, predictor.trained.specs
    raw = {"tokens": ["abc", "hello"], "category": [1, 2], "number": [0.5, 2.0], "image": np.zeros((2, 8, 8, 1))}
    columns = {name: raw[specs[name].kind] for name in config.reads}
    given = {name: column for name, column in columns.items() if name not in config.features}
    examples = predictor.examples(columns)
    predictor.score(examples, 3)
    predictor.decode(predictor.encode(examples), given)
    predictor.generate(1, given=given)
"""


@pytest.mark.slow
def test_models_of_every_kind_answer_without_what_only_preprocessing_imports(
    text: Made, table: Made, conditional: Made
) -> None:
    folders = [str(found.model) for found in (text, table, conditional)]
    subprocess.run([sys.executable, "-c", WITHOUT_PREPROCESSING, *folders], check=True, cwd=ROOT)


@pytest.mark.slow
def test_a_conditional_model_is_no_rival_of_an_unconditional_one(
    conditional: Made, made: Callable[..., Made], tracking_uri: str
) -> None:
    small = "{kind: mlp, hidden: [16]}"
    made("digits", f"model.encoder={small}", f"model.decoder={small}").register(tracking_uri)
    registered = conditional.register(tracking_uri, "another run")
    assert not registered.promoted
    assert "cannot be compared" in registered.reason
    assert "given label" in registered.reason


def test_the_registered_model_is_found_by_its_alias(table: Made, tracking_uri: str, tmp_path: Path) -> None:
    table.register(tracking_uri)
    found = resolve("models:/table-vae@champion", tmp_path, tracking_uri)
    assert folder.load(found).config == table.experiment.model
