"""The history of a registered model, and `elboflow models`, with an MLflow server on PostgreSQL."""

import json
import multiprocessing
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from elboflow.settings import WorkError
from pipelines.cli import app
from preprocessing.config import DataConfig
from tests.components.runs import Run, write
from tests.infra.machine import query, started
from tests.opened import opened

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("postgresql")]

AT_ONCE = 3
"""Versions that each of two processes registers."""
LOST = re.compile(
    r"decided on by a line of promotions\.jsonl that is not there|the last one that was written, was changed"
)


@pytest.fixture(scope="module")
def server(
    root: Path, services: dict[str, Any], driver: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Callable[[str], str]]]:
    """The address of MLflow, and what asks its database."""
    with started(root, services, driver, tmp_path_factory.mktemp("machine")) as machine:
        yield f"http://127.0.0.1:{machine.ports['mlflow']}", lambda statement: query(machine, statement)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from components.preprocess import preprocess

    folder = tmp_path_factory.mktemp("postgresql") / "dataset"
    preprocess(DataConfig.model_validate({"source": "sklearn"}), folder)
    return folder


def register(tracking_uri: str, dataset: Path, place: Path, name: str, gain: float, experiment: str) -> None:
    """Registers a run whose bounds are higher than those of others by a gain."""
    values = np.random.default_rng(0).normal(-30, 5, opened(dataset).manifest.counts["test"])
    run = Run(name, dataset, place / name / "model", place / name / "evaluation")
    write(run, values + gain, "bernoulli", 0).register(tracking_uri, {**run.experiment, "name": experiment})


def register_several(tracking_uri: str, dataset: Path, place: Path, who: str, begin: Any) -> None:
    """A process that registers versions, each again if another process was quicker; until a line is lost."""
    begin.wait(120)
    for night in range(AT_ONCE):
        for _ in range(20):
            try:
                register(tracking_uri, dataset, place, f"{who}-{night}", 0.1 * night, "at-once")
                break
            except WorkError as error:
                if not str(error).endswith("decided on at the same time: register this one again"):
                    assert LOST.search(str(error)), error  # noqa: PT017 - in a process of its own
                    return
        else:
            raise AssertionError(f"{who}-{night} was never registered")


def test_several_nights_are_decided_listed_rolled_back_and_verified(
    server: tuple[str, Callable[[str], str]], dataset: Path, tmp_path: Path
) -> None:
    tracking_uri, ask = server

    def models(*words: str) -> Result:
        return CliRunner().invoke(app, ["models", *words, "--tracking-uri", tracking_uri])

    for night, gain in enumerate((0.0, 1.0, -1.0, 2.0), 1):
        register(tracking_uri, dataset, tmp_path, f"night-{night}", gain, "digits")
    assert ask("select alias, version from registered_model_aliases") == "champion|4"
    listed = json.loads(models("list", "--json").stdout)["versions"]
    assert [version["version"] for version in listed] == [4, 3, 2, 1]
    shown = json.loads(models("show", "models:/digits-vae@champion", "--json").stdout)
    assert (shown["version"], shown["run"]) == (4, "night-4")
    compared = json.loads(models("compare", "digits-vae/2", "digits-vae/1", "--json").stdout)
    assert compared["paired"]["log_likelihood"]["difference"] == pytest.approx(1)
    rolled = models("rollback", "digits-vae", "--reason", "it blurs")
    assert (rolled.exit_code, rolled.stdout) == (0, "digits-vae version 2 is the champion now, before it version 4\n")
    assert models("rollback", "digits-vae").exit_code == 0
    refused = models("rollback", "digits-vae")
    assert (refused.exit_code, refused.stderr) == (
        2, "error: no version of digits-vae that is still there was the champion before\n",
    )  # fmt: skip
    assert models("promote", "digits-vae/3", "--reason", "prettier").exit_code == 0
    events = json.loads(models("history", "digits-vae", "--json").stdout)["events"]
    assert [(event["version"], event["champion"]) for event in events] == [
        (1, 1), (2, 2), (3, 2), (4, 4), (2, 2), (1, 1), (3, 3),
    ]  # fmt: skip
    checked = models("verify", "digits-vae")
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert checked.stdout.startswith("digits-vae: 7 events, 3 comparisons made again, 0 differ")
    champion = "select value from latest_metrics where key = 'champion'"
    assert float(ask(champion)) == 3


def test_of_two_processes_that_register_at_once_each_is_decided_on_or_told_to_be_lost(
    server: tuple[str, Callable[[str], str]], dataset: Path, tmp_path: Path
) -> None:
    from components.registry.decisions import verify
    from components.registry.decisions.history import open_history
    from components.tracking import store

    tracking_uri, _ = server
    spawn = multiprocessing.get_context("spawn")
    begin = spawn.Barrier(2)
    processes = [
        spawn.Process(target=register_several, args=(tracking_uri, dataset, tmp_path, who, begin))
        for who in ("one", "other")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    try:
        history = open_history(store.connect(tracking_uri), tracking_uri, "at-once-vae")
    except WorkError as error:
        assert LOST.search(str(error)), error  # noqa: PT017 - it is raised where a line was lost alone
        return
    problems = verify.verify(history).problems
    if problems:  # two lines were written within one round trip; that is rare
        assert all(LOST.search(problem) for problem in problems)
    else:
        decided = sorted(event.version for event in history.events if event.kind == "decision")
        assert decided == list(range(1, 2 * AT_ONCE + 1))
