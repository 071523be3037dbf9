"""What a local run says of this machine before it starts."""

import logging
from pathlib import Path

import pytest

from elboflow.settings import RequestError
from pipelines.experiment import load
from pipelines.targets.local.surroundings import available_memory, bytes_of, surroundings, tracking_uri
from pipelines.workspace import Workspace


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("512Mi", 2**29), ("1.5Gi", 3 * 2**29), ("2Ti", 2**41), ("3M", 3 * 10**6), ("16G", 16 * 10**9), ("1T", 10**12)],
)
def test_an_amount_is_read_in_its_unit(amount: str, expected: int):
    assert bytes_of(amount) == expected
    load("digits", [f"targets.local.memory={amount}"])


def test_an_amount_without_a_unit_is_refused():
    with pytest.raises(RequestError, match="memory: '16 GB' is not allowed; must be an amount such as 16Gi"):
        load("digits", ["targets.local.memory=16 GB"])


def test_what_linux_says_is_available_counts_and_elsewhere_what_the_machine_has(tmp_path: Path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(
        "MemTotal:       16384000 kB\nMemFree:          204800 kB\nMemAvailable:    8192000 kB\n", encoding="utf-8"
    )
    assert available_memory(meminfo) == 8192000 * 1024
    everything = available_memory(tmp_path / "absent")
    assert everything is not None
    assert everything >= (available_memory() or 0)


@pytest.mark.parametrize(("memory", "lines"), [("null", 0), ("1Mi", 0), ("900Ti", 1)])
def test_a_run_says_in_one_line_that_memory_is_short(
    memory: str, lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    said: list[str] = []
    logger = logging.getLogger("elboflow.targets")
    monkeypatch.setattr(logger, "handle", lambda record: said.append(record.getMessage()))
    with surroundings(load("digits", [f"targets.local.memory={memory}"]), Workspace(tmp_path), None):
        assert len(said) == lines
    for message in said:
        assert message.startswith("targets.local.memory is 900Ti, and this machine has ")


def test_the_most_specific_name_of_an_mlflow_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    workspace = Workspace(tmp_path)
    plain, named = load("digits"), load("digits", ["targets.local.tracking_uri=http://experiment:5000"])
    assert tracking_uri(plain, workspace) == tracking_uri(None, workspace) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert tracking_uri(None, workspace) == "http://mlflow:5000"
    monkeypatch.setenv("ELBOFLOW_TRACKING_URI", "http://elboflow:5000")
    assert tracking_uri(plain, workspace) == "http://elboflow:5000"
    assert tracking_uri(named, workspace) == "http://experiment:5000"
    assert tracking_uri(named, workspace, "http://option:5000") == "http://option:5000"


def test_a_variable_of_mlflow_s_that_names_no_mlflow_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    with pytest.raises(RequestError, match="MLFLOW_TRACKING_URI: mlruns is no address of an MLflow"):
        tracking_uri(None, Workspace(tmp_path))
