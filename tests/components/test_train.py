"""Where training begins, and where it refuses to."""

import json
from pathlib import Path

import pytest

from components.train import train
from elboflow.settings import RequestError
from elboflow.vae import folder as models
from elboflow.vae.config import GPU, DataParallel, TrainingConfig
from tests.components.runs import SHORT_TRAINING, SMALL_MODEL

TWO_MACHINES = json.dumps(
    {
        "cluster": {"workerpool0": ["leader:2222"], "workerpool1": ["other:2222"]},
        "task": {"type": "workerpool1", "index": 0},
    }
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from components.preprocess import preprocess
    from pipelines.experiment import load

    folder = tmp_path_factory.mktemp("digits") / "dataset"
    preprocess(load("digits").data, folder)
    return folder


@pytest.mark.xdist_group("tensorflow")
@pytest.mark.usefixtures("tensorflow_backend")
def test_one_machine_in_a_cluster_trains(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "1")
    train(digits, tmp_path / "model", SMALL_MODEL, SHORT_TRAINING, 0)
    assert models.load(tmp_path / "model").epochs == SHORT_TRAINING.epochs


def test_a_cluster_that_is_not_described_whole_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "10.0.0.1:1234")
    with pytest.raises(RequestError, match="JAX_COORDINATOR_ADDRESS names a coordinator, and JAX_NUM_PROCESSES"):
        train(tmp_path, tmp_path / "model", SMALL_MODEL, SHORT_TRAINING, 0)


@pytest.mark.parametrize("chief", [True, False])
@pytest.mark.parametrize(
    ("training", "told"),
    [
        (SHORT_TRAINING, r"training\.parallel: missing, and 2 machines are to train together"),
        (
            TrainingConfig(parallel=DataParallel(), batch_size=33),
            r"batch_size: 33 cannot be divided among 2 machines",
        ),
    ],
)
def test_machines_that_cannot_train_together_are_told_why_and_leave_the_folder_alone(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: TrainingConfig, told: str, chief: bool
):
    monkeypatch.setenv("CLUSTER_SPEC", TWO_MACHINES)
    if chief:
        monkeypatch.setenv("CLUSTER_SPEC", TWO_MACHINES.replace('"type": "workerpool1"', '"type": "workerpool0"'))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("another's", encoding="utf-8")
    with pytest.raises(RequestError, match=told):
        train(digits, tmp_path / "model", SMALL_MODEL, training, 0)
    assert (tmp_path / "model" / "model.json").read_text(encoding="utf-8") == "another's"


@pytest.mark.xdist_group("tensorflow")
@pytest.mark.usefixtures("tensorflow_backend")
def test_a_device_that_is_not_there_is_refused_and_the_finished_model_stays(digits: Path, tmp_path: Path):
    train(digits, tmp_path / "model", SMALL_MODEL, SHORT_TRAINING, 0)
    before = (tmp_path / "model" / "model.json").read_bytes()
    elsewhere = SHORT_TRAINING.model_copy(update={"gpu": GPU(visible_devices=[97])})
    with pytest.raises(RequestError, match=r"training\.gpu\.visible_devices: there is no GPU 97"):
        train(digits, tmp_path / "model", SMALL_MODEL, elsewhere, 0, restart=True)
    assert (tmp_path / "model" / "model.json").read_bytes() == before
