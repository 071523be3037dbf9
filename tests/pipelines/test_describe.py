"""`elboflow config --describe` and `--schema`: what settings mean, for people and for editors."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.experiment import Experiment, load, schema
from pipelines.experiment import text as source
from tests import packages

FEATURES = {"image": {"kind": "image", "shape": [32, 32], "range": [0, 255]}, "label": "category"}
MINE: dict[str, Any] = {"name": "mine", "data": {"source": {"kind": "npz", "path": "a.npz"}, "features": FEATURES}}


def config(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, ["config", *arguments])


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    written = json.loads(config("--schema").stdout)
    Draft202012Validator.check_schema(written)
    return Draft202012Validator(written)


def told(key: str) -> str:
    done = config("--describe", key)
    assert done.exit_code == 0, done.stderr
    return re.sub(r"\s+", " ", done.stdout)


def test_without_a_key_all_sections_are_described_with_types_defaults_and_the_names_of_kinds():
    lines = config("--describe").stdout.splitlines()
    assert max(map(len, lines)) <= 100
    keys = [found[1] for line in lines if (found := re.match(r"(?: {0,4})([a-z_]+)( \(required\)| = |$| {2})", line))]
    assert {*Experiment.model_fields} <= {*keys}
    text = "\n".join(lines)
    assert re.search(r"^name \(required\) +text; the name of the pipeline", text, re.MULTILINE)
    assert re.search(r"^  epochs = 50 +whole number > 0; the most passes over the train split", text, re.MULTILINE)
    assert re.search(r"^  encoder = mlp +convolutional \| mlp \| recurrent; the network from x", text, re.MULTILINE)
    assert re.search(
        r"^      NAME\n        retry = \{attempts: 0\} +whole number ≥ 0", text, re.MULTILINE
    )  # of local steps
    assert re.search(r"^  early_stopping = \{patience: 10, minimum_change: 0.0\}", text, re.MULTILINE)
    assert re.search(r"^  learning_rate = \{kind: cosine, warmup_steps: 200\}", text, re.MULTILINE)


def test_a_key_is_described_with_all_kinds_of_its_choice_and_their_keys():
    optimizer = told("training.optimizer")
    for kind in ("adam", "adamw", "sgd", "rmsprop", "lion", "muon"):
        assert f" {kind} " in optimizer
    assert "nesterov = false true | false; look ahead by the momentum" in optimizer


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("training.epochs", "training.epochs = 50 whole number > 0; the most passes over the train split"),
        ("name", "name (required) text; the name of the pipeline"),
        ("data.source.path", "data.source.path of csv, jsonl, parquet, text (required) text; a path of this machine"),
        ("training.optimizer.lion", "beta_2 = 0.99 number ≥ 0 and < 1"),
        ("data.features.anything.shape", "list of 3: whole number ≥ 1 | list of 2: whole number ≥ 1; height, width"),
        ("evaluation.evaluators.0.curves", "The bound and its terms by epoch."),
        ("model.likelihood.product.columns.age.gaussian.scale", "scale = learned learned | number > 0; standard dev"),
        ("targets.vertex.steps.train.accelerator", "| h100-80gb |"),
        ("training.early_stopping.patience", "epochs without a rise of the validation ELBO before the end"),
    ],
)
def test_a_key_is_found_in_kinds_mappings_and_lists(key: str, expected: str):
    assert expected in told(key)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("training.optimiser", "training.optimiser: training has no 'optimiser'; did you mean 'optimizer'?"),
        ("trainings", "trainings: an experiment has no 'trainings'; did you mean 'training'?"),
        ("model.encoder.kernal", "model.encoder has no 'kernal'; did you mean 'kernel'?"),
        ("training.epochs.x", "training.epochs.x: training.epochs has no 'x'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(key: str, expected: str):
    done = config("--describe", key)
    assert (done.exit_code, done.stdout) == (2, "")
    assert expected in done.stderr


def test_the_schema_takes_all_ready_made_experiments_as_written_and_in_full(validator: Draft202012Validator):
    for name in source.ready_made():
        assert list(validator.iter_errors(source.find(name).values)) == []
        full = load(name, ["data.source.path=x"] if name == "mnist" else []).model_dump(mode="json")
        assert list(validator.iter_errors(full)) == []


VERTEX = {"project": "my-project", "location": "l", "root": "gs://b/f", "image": "i", "tracking_uri": "https://m"}


@pytest.mark.parametrize(
    "written",
    [
        {"training": {"learning_rate": 0.001, "early_stopping": 10, "ema": 0.999, "balance": "label", "parallel": 4}},
        {"training": {"optimizer": "lion", "learning_rate": {"kind": "cosine", "warmup_steps": 5}}},
        {"schedule": "0 2 * * *", "registry": "mine", "notify": "webhook"},
        {"targets": {"vertex": {**VERTEX, "steps": {"train": {"accelerator": "l4", "retry": 5}}}}},
        {"model": {"likelihood": {"kind": "product", "columns": {"label": "category"}}}},
        {"model": "flat"},
    ],
)
def test_the_schema_takes_short_forms_that_the_program_takes(written: dict[str, Any], validator: Draft202012Validator):
    assert list(validator.iter_errors({**MINE, **written})) == []


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ({"trainig": {}}, []),
        ({"training": {"epoch": 3}}, ["training"]),
        ({"training": {"epochs": "3"}}, ["training", "epochs"]),
        ({"training": {"epochs": 0}}, ["training", "epochs"]),
        ({"training": {"optimizer": "adm"}}, ["training", "optimizer"]),
        ({"training": {"optimizer": {"beta_1": 0.5}}}, ["training", "optimizer"]),
        ({"training": {"early_stopping": "soon"}}, ["training", "early_stopping"]),
        ({"model": {"encoder": {"kind": "mlp", "channels": [3]}}}, ["model"]),
        ({"model": {"likelihood": {"kind": "product", "columns": {"label": "categry"}}}}, ["model"]),
        ({"data": {"source": "sklearn", "splits": {"train": "some"}}}, ["data", "splits", "train"]),
        ({"targets": {"vertex": {**VERTEX, "steps": {"train": {"accelerator": "l5"}}}}}, ["targets", "vertex"]),
        ({"targets": {"vertex": {**VERTEX, "steps": {"trian": {}}}}}, ["targets", "vertex"]),
        ({"name": None}, ["name"]),
    ],
)  # fmt: skip
def test_the_schema_refuses_what_the_program_refuses(written: Any, at: list[str], validator: Draft202012Validator):
    (error,) = validator.iter_errors({**MINE, **written})
    assert list(error.absolute_path) == at


def test_an_experiment_or_one_of_the_two_options_is_needed():
    assert "EXPERIMENT is missing" in config().stderr
    assert config("--describe", "--schema").exit_code == 2
    assert config("digits", "--schema").exit_code == 2
    assert config("--describe", "training", "--set", "training.epochs=3").exit_code == 2


def test_a_file_that_init_writes_fits_the_schema(tmp_path: Path, validator: Draft202012Validator):
    assert CliRunner().invoke(app, ["init", "faces", "--output", str(tmp_path / "faces.yaml")]).exit_code == 0
    assert list(validator.iter_errors(yaml.safe_load((tmp_path / "faces.yaml").read_text(encoding="utf-8")))) == []


OUTSIDE = """
from typing import Literal

from pydantic import Field

from elboflow.vae.objectives import Objective

class Renyi(Objective):
    \"\"\"The bound of Li and Turner (2016).\"\"\"

    kind: Literal["renyi"] = "renyi"
    alpha: float = Field(0.5, gt=0, description="order of the divergence")

    def __call__(self, terms, step): ...
"""


@pytest.fixture
def renyi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution with an objective."""
    packages.install(
        tmp_path, "bounds", {"renyi_bound": OUTSIDE}, {"elboflow.objectives": {"renyi": "renyi_bound:Renyi"}}
    )
    monkeypatch.syspath_prepend(tmp_path)
    packages.forget()
    yield
    sys.modules.pop("renyi_bound", None)
    packages.forget()


@pytest.mark.usefixtures("renyi")
def test_kinds_of_installed_packages_are_described_with_their_package_and_are_in_the_schema():
    objective = told("model.objective")
    assert "renyi The bound of Li and Turner (2016). (from bounds 1.2.3)" in objective
    assert "alpha = 0.5 number > 0; order of the divergence" in objective
    validator = Draft202012Validator(schema())
    assert validator.is_valid({**MINE, "model": {"objective": {"kind": "renyi", "alpha": 0.1}}})
    assert not validator.is_valid({**MINE, "model": {"objective": {"kind": "renyi", "alpha": 0}}})
