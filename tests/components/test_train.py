"""Where training refuses to begin."""

import json
from pathlib import Path

import pytest

from components.train import train
from settings import RequestError, WorkError
from tests.components.runs import SHORT_TRAINING, SMALL_MODEL


def cluster(**roles: int) -> str:
    return json.dumps({"cluster": {role: [f"{role}-{n}:2222" for n in range(count)] for role, count in roles.items()}})


@pytest.mark.parametrize(
    ("variable", "value", "machines"),
    [
        ("TF_CONFIG", cluster(chief=1, worker=1), 2),
        ("TF_CONFIG", cluster(worker=4, ps=2), 4),
        ("CLUSTER_SPEC", cluster(workerpool0=1, workerpool1=3, workerpool2=2), 4),
        ("TPU_WORKER_HOSTNAMES", "10.0.0.1,10.0.0.2", 2),
        ("MEGASCALE_NUM_SLICES", "2", 2),
        ("JAX_NUM_PROCESSES", "3", 3),
        ("WORLD_SIZE", "4", 4),
    ],
)
def test_training_refuses_to_be_one_of_several_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, machines: int
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(RequestError, match=rf"{variable} names {machines} machines .* targets\.vertex\.train\.workers"):
        train(tmp_path, tmp_path / "model", SMALL_MODEL, SHORT_TRAINING, 0)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TF_CONFIG", ""),
        ("TF_CONFIG", cluster(chief=1)),
        ("CLUSTER_SPEC", cluster(workerpool0=1, workerpool2=8)),  # a reduction server trains nothing
        ("CLUSTER_SPEC", cluster(workerpool0=1)),
        ("TPU_WORKER_HOSTNAMES", "localhost"),
        ("MEGASCALE_NUM_SLICES", "1"),
        ("JAX_NUM_PROCESSES", "1"),
        ("WORLD_SIZE", ""),
    ],
)
def test_one_machine_in_a_cluster_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str):
    monkeypatch.setenv(variable, value)
    with pytest.raises(WorkError, match=r"dataset\.json|no dataset"):  # it gets as far as the dataset
        train(tmp_path, tmp_path / "model", SMALL_MODEL, SHORT_TRAINING, 0)


def test_a_coordinator_of_jax_is_refused_unless_one_process_is_all_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "10.0.0.1:1234")
    with pytest.raises(RequestError, match="JAX_COORDINATOR_ADDRESS names a coordinator of several machines"):
        train(tmp_path, tmp_path / "model", SMALL_MODEL, SHORT_TRAINING, 0)
    monkeypatch.setenv("JAX_NUM_PROCESSES", "1")
    with pytest.raises(WorkError):  # it gets as far as the dataset
        train(tmp_path, tmp_path / "model", SMALL_MODEL, SHORT_TRAINING, 0)
    monkeypatch.setenv("JAX_NUM_PROCESSES", "many")
    with pytest.raises(RequestError, match="JAX_NUM_PROCESSES is 'many', and no number of machines"):
        train(tmp_path, tmp_path / "model", SMALL_MODEL, SHORT_TRAINING, 0)
