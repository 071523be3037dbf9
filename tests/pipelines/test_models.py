"""`elboflow models`, by its command line, over registered versions of a real MLflow."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app
from preprocessing.config import DataConfig
from tests.components.runs import Run, write
from tests.opened import opened

pytestmark = pytest.mark.xdist_group("mlflow")


def models(*words: str) -> Result:
    return CliRunner().invoke(app, ["models", *words])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with three versions of digits-vae: the second became the champion. Tests change only its history."""
    from components.preprocess import preprocess

    place = tmp_path_factory.mktemp("models")
    preprocess(DataConfig.model_validate({"source": "sklearn"}), place / "dataset")
    values = np.random.default_rng(0).normal(-30, 5, opened(place / "dataset").manifest.counts["test"])
    (place / "workspace").mkdir()
    for name, gain in (("first", 0.0), ("second", 1.0), ("third", -1.0)):
        run = Run(name, place / "dataset", place / name / "model", place / name / "evaluation")
        write(run, values + gain, "bernoulli", 0).register(f"sqlite:///{place}/workspace/mlflow.db")
    return place / "workspace"


def test_the_versions_are_listed_with_their_verdicts(workspace: Path) -> None:
    listed = models("list", "--workspace", str(workspace))
    assert listed.exit_code == 0
    rows = listed.stdout.splitlines()
    assert [row.split()[0] for row in rows[1:]] == ["digits-vae/3", "digits-vae/2", "digits-vae/1"]
    assert "champion" in rows[2]
    assert "worse than version 2, the champion: -2.000 nats" in rows[1]


def test_more_models_than_a_page_of_mlflow_are_listed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    whole = mlflow.MlflowClient.search_registered_models

    def of_one(self: mlflow.MlflowClient, *arguments: object, **named: object) -> object:
        return whole(self, *arguments, **{**named, "max_results": 1})

    monkeypatch.setattr(mlflow.MlflowClient, "search_registered_models", of_one)
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    client.create_registered_model("an empty one")
    versions = json.loads(models("list", "--json", "--workspace", str(workspace)).stdout)["versions"]
    client.delete_registered_model("an empty one")
    assert len(versions) == 3


def test_the_versions_of_a_dataset_are_listed(workspace: Path) -> None:
    versions = json.loads(models("list", "--json", "--workspace", str(workspace)).stdout)["versions"]
    digest = versions[0]["dataset"][:12]
    of_it = json.loads(models("list", "--dataset", digest, "--json", "--workspace", str(workspace)).stdout)
    assert len(of_it["versions"]) == 3
    other = models("list", "--dataset", "f00", "--workspace", str(workspace))
    assert (other.exit_code, other.stdout, other.stderr) == (0, "", "no registered versions of that dataset\n")


def test_a_version_is_shown_with_all_that_it_was_made_of(workspace: Path) -> None:
    shown = models("show", "models:/digits-vae@champion", "--workspace", str(workspace))
    assert shown.exit_code == 0
    assert shown.stdout.startswith("digits-vae version 2\n")
    for name in ("why", "run", "report", "dataset", "code", "weights", "log_likelihood"):
        assert name in shown.stdout
    values = json.loads(models("show", "digits-vae/2", "--json", "--workspace", str(workspace)).stdout)
    assert (values["version"], values["run"], values["same_dataset"]) == (2, "second", [3, 1])
    assert values["metrics"]["elbo"]["value"] == -30


def test_two_versions_are_compared_example_by_example(workspace: Path) -> None:
    compared = models("compare", "digits-vae/2", "digits-vae/1", "--workspace", str(workspace))
    assert compared.exit_code == 0
    assert "+1.000 nats, 95% interval +1.000 to +1.000" in compared.stdout
    values = json.loads(
        models("compare", "digits-vae/2", "digits-vae/1", "--json", "--workspace", str(workspace)).stdout
    )
    assert values["paired"]["log_likelihood"]["difference"] == pytest.approx(1)
    assert values["settings"] == {}


def test_a_rollback_and_a_promotion_by_hand_are_in_the_history_which_holds(workspace: Path) -> None:
    rolled = models("rollback", "digits-vae", "--reason", "it blurs", "--workspace", str(workspace))
    assert (rolled.exit_code, rolled.stdout) == (0, "digits-vae version 1 is the champion now, before it version 2\n")
    again = models("rollback", "digits-vae", "--workspace", str(workspace))
    assert again.exit_code == 2
    assert again.stderr == "error: no version of digits-vae that is still there was the champion before\n"
    promoted = models("promote", "digits-vae/2", "--reason", "a mistake", "--workspace", str(workspace))
    assert promoted.exit_code == 0
    history = models("history", "digits-vae", "--workspace", str(workspace))
    lines = history.stdout.splitlines()[1:]
    assert ["promoted by hand: a mistake" in lines[0], "rolled back: it blurs" in lines[1]] == [True, True]
    checked = models("verify", "digits-vae", "--workspace", str(workspace))
    assert checked.exit_code == 0
    assert checked.stdout.startswith("digits-vae: 5 events, 2 comparisons made again, 0 differ; decided by ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "digits-vae/9"), "digits-vae has no version '9'; "),
        (("show", "digits-vae"), "'digits-vae' names no version; write models:/NAME@ALIAS or models:/NAME/VERSION"),
        (("promote", "digits-va/1", "--reason", "x"), "there is no registered model 'digits-va'; did you mean"),
        (("history", "faces-vae"), "there is no registered model 'faces-vae'; "),
        (("promote", "digits-vae@champion", "--reason", "x"), "version 2 of digits-vae is the champion already"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence_and_changes_nothing(
    workspace: Path, words: tuple[str, ...], told: str
) -> None:
    done = models(*words, "--workspace", str(workspace))
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {told}")
    assert done.stderr.count("\n") == 1


def test_a_history_whose_versions_were_deleted_by_hand_is_shown_and_verified_and_a_refused_rollback_changes_nothing(
    workspace: Path, tmp_path: Path
) -> None:
    from components.tracking import store

    shutil.copytree(workspace, tmp_path / "copy")
    client = store.connect(f"sqlite:///{tmp_path}/copy/mlflow.db")

    def done(*words: str) -> Result:
        return models(*words, "--workspace", str(tmp_path / "copy"))

    before = json.loads(done("history", "digits-vae", "--json").stdout)["events"]
    for version in (1, 2):  # those that ever were the champion
        client.delete_model_version("digits-vae", str(version))
    refused = done("rollback", "digits-vae")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: no version of digits-vae that is still there was the champion before; ")
    assert refused.stderr.endswith(" were, and deleted since\n")
    for words in (("promote", "digits-vae/2", "--reason", "x"), ("show", "digits-vae/2")):
        assert (done(*words).exit_code, done(*words).stderr) == (
            2, "error: digits-vae has no version '2'; allowed: 3\n",
        )  # fmt: skip
    history = done("history", "digits-vae")
    assert history.exit_code == 0
    assert "2 (deleted)" in history.stdout
    assert json.loads(done("history", "digits-vae", "--json").stdout)["events"] == before
    assert done("verify", "digits-vae").exit_code == 0
    client.delete_registered_model("digits-vae")
    for words in (("rollback", "digits-vae"), ("history", "digits-vae"), ("verify", "digits-vae")):
        assert (done(*words).exit_code, done(*words).stderr) == (
            2, "error: there is no registered model 'digits-vae'; there are none\n",
        )  # fmt: skip


def test_a_deleted_history_is_told_in_a_sentence_by_every_command_that_needs_it(
    workspace: Path, tmp_path: Path
) -> None:
    from components.registry.decisions.history_run import HISTORY
    from components.tracking import store

    shutil.copytree(workspace, tmp_path / "copy")
    client = store.connect(f"sqlite:///{tmp_path}/copy/mlflow.db")
    run_id = client.get_registered_model("digits-vae").tags[HISTORY].split()[0]
    client.delete_run(run_id)
    for words in (
        ("rollback", "digits-vae"),
        ("history", "digits-vae"),
        ("verify", "digits-vae"),
        ("promote", "digits-vae/3", "--reason", "x"),
    ):
        done = models(*words, "--workspace", str(tmp_path / "copy"))
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr == (
            f"error: the history of digits-vae is the MLflow run {run_id}, which was deleted; restore it: "
            f"mlflow runs restore --run-id {run_id}\n"
        )


def test_without_an_mlflow_nothing_is_made(tmp_path: Path) -> None:
    done = models("list", "--workspace", str(tmp_path / "none"))
    assert done.exit_code == 2
    assert "there is no MLflow at" in done.stderr
    assert not (tmp_path / "none").exists()
