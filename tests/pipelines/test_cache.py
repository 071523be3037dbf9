"""Steps of local runs that an earlier run has made of the same: taken where they are whole, made anew where not."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl
from typer.testing import CliRunner

from elboflow import artifacts as folders
from elboflow.settings.variables import MESSAGE_SECRET
from pipelines import retention
from pipelines.cli import app
from pipelines.experiment.machines import LocalStep
from pipelines.graphs.steps import IMAGE
from pipelines.step_process import messages
from pipelines.targets import StepState
from pipelines.targets.local import artifacts
from pipelines.targets.local import cache as caching
from pipelines.targets.local.artifacts import Artifact
from pipelines.targets.local.cache import MADE_OF, Cache
from pipelines.targets.local.executor import StepProcess
from pipelines.targets.local.process import ProcessIdentity
from pipelines.targets.local.record import Record
from pipelines.targets.local.runner import Runner
from pipelines.targets.local.screen import Screen
from pipelines.workspace import Keep, Workspace
from tests import packages


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(dataset: dsl.Input[dsl.Dataset], training: str, tracking_uri: str, model: dsl.Output[dsl.Model]) -> None:
    """Writes a model folder of one file."""
    from pipelines.step_process.process import step

    with step(model.path):
        import os
        from pathlib import Path

        from elboflow import artifacts

        folder = Path(model.path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights").write_text(training, encoding="utf-8")
        artifacts.commit(folder, "model", {"format": 2}, ["weights"])
        model.metadata.update(made=os.getpid())


Take = Callable[..., Runner]


@pytest.fixture
def take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Take]:
    """Runs the step in a run of a name, and returns what has run it."""
    code_is(monkeypatch, "1" * 40)
    key = messages.new_key()
    monkeypatch.setenv(MESSAGE_SECRET, key)
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        folders.commit(tmp_path / name, "dataset", {"format": 2, "digest": name}, [])

    with ExitStack() as screens:

        def run(name: str, dataset: str = "a", cached: bool = True, **inputs: str) -> Runner:
            screen = screens.enter_context(Screen(key))
            moves: list[list[StepState]] = []
            runner = Runner(
                name, tmp_path / "runs" / name, screen, lambda _: LocalStep(),
                lambda step, given: StepProcess(step, given, tmp_path), lambda steps: moves.append(list(steps)),
                cache=Cache(tmp_path / "runs"),
            )  # fmt: skip
            given = {"training": "{}", "tracking_uri": "", **inputs}
            dataset_artifact = Artifact("dataset", "system.Dataset", str(tmp_path / dataset))
            runner.take(train, cached=cached, dataset=dataset_artifact, **given)
            return runner

        yield run


def code_is(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(caching, "code_version", lambda: version)
    caching._surroundings.cache_clear()


def is_of(runner: Runner) -> str:
    """Returns the run that made the model of a run."""
    return Path(runner.artifacts["model"].uri).parent.parent.name


def test_a_step_of_the_same_is_taken_from_the_run_that_made_it(take: Take):
    made, again, third = take("made"), take("again"), take("third", tracking_uri="http://other")
    assert [is_of(runner) for runner in (made, again, third)] == ["made", "made", "made"]
    assert again.artifacts["model"].metadata == made.artifacts["model"].metadata
    assert again._states[0].reason == third._states[0].reason == "cached from made"
    assert (list(made.seconds), list(again.seconds)) == (["train"], [])


def test_what_decides_the_result_makes_the_step_anew(take: Take, monkeypatch: pytest.MonkeyPatch):
    take("made")
    assert is_of(take("other-settings", training="{1}")) == "other-settings"
    assert is_of(take("other-data", dataset="b")) == "other-data"
    assert is_of(take("never-cached", cached=False)) == "never-cached"
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    assert is_of(take("other-rounding")) == "other-rounding"


@pytest.mark.parametrize(
    "variable",
    ["DNNL_MAX_CPU_ISA", "KMP_BLOCKTIME", "LIBTPU_INIT_ARGS", "NCCL_ALGO", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE"],
)
def test_a_step_is_another_where_a_variable_of_the_libraries_that_compute_is_another(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    code_is(monkeypatch, "1" * 40)
    before = Cache(tmp_path).key("train", {"seed": 0})
    assert before == Cache(tmp_path).key("train", {"seed": 0}) is not None
    monkeypatch.setenv(variable, "1")
    assert Cache(tmp_path).key("train", {"seed": 0}) != before


def test_a_dataset_that_was_there_already_is_said_to_be_cached_from_the_run_that_made_it(tmp_path: Path):
    def preprocessed(run: str, place: str, **said: Any) -> str | None:
        dataset = {"dataset": Artifact("dataset", "system.Dataset", place, {"digest": "d", **said})}
        (tmp_path / run / "preprocess").mkdir(parents=True)
        artifacts.keep(tmp_path / run / "preprocess", dataset)
        return caching.maker(tmp_path, "preprocess", dataset)

    assert preprocessed("older", "/d/1") is None  # a record of 0.1.0, which did not say
    assert preprocessed("of-it", "/d/1", reused=True) == "cached from an earlier run"
    assert preprocessed("made", "/d/1", reused=False) is None
    assert preprocessed("other", "/d/2", reused=False) is None
    assert preprocessed("again", "/d/1", reused=True) == "cached from made"


def test_only_code_that_a_version_tells_is_cached(take: Take, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    take("made")
    code_is(monkeypatch, "2" * 40)
    assert is_of(take("other-code")) == "other-code"
    code_is(monkeypatch, "1" * 40 + "-dirty")
    assert is_of(take("changed")) == "changed"
    assert not (tmp_path / "runs" / "changed" / "train" / MADE_OF).exists()


def test_beside_a_package_that_somebody_works_in_nothing_is_cached(
    take: Take, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    take("made")
    packages.install(tmp_path / "site", "my-layers", {}, {})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    code_is(monkeypatch, "1" * 40)
    assert is_of(take("with-another-package")) == "with-another-package"
    assert is_of(take("again")) == "with-another-package"
    origin = tmp_path / "site" / "my_layers-1.2.3.dist-info" / "direct_url.json"
    origin.write_text('{"url":"file:///src","dir_info":{"editable":true}}', encoding="utf-8")
    code_is(monkeypatch, "1" * 40)
    assert is_of(take("worked-on")) == "worked-on"


@pytest.mark.parametrize("damage", ["flipped", "deleted", "half"])
def test_a_damaged_folder_is_noticed_and_the_step_is_made_anew(damage: str, take: Take, tmp_path: Path, caplog: Any):
    take("made")
    folder = tmp_path / "runs" / "made" / "train" / "model"
    if damage == "flipped":
        (folder / "weights").write_text("[]", encoding="utf-8")
    elif damage == "deleted":
        (folder / "weights").unlink()
    else:
        (folder / "model.json").unlink()
    with caplog.at_level("WARNING", logger="elboflow.run"):
        assert is_of(take("again")) == "again"
    assert "the model of made does not serve again: " in caplog.text
    assert is_of(take("third")) == "again"


def test_a_record_that_is_damaged_or_of_a_removed_run_is_passed_over(take: Take, tmp_path: Path):
    take("made")
    record = tmp_path / "runs" / "made" / "train" / MADE_OF
    record.write_text('{"key": 1}', encoding="utf-8")
    assert is_of(take("again")) == "again"
    record.unlink()
    record.symlink_to(tmp_path / "nowhere")
    assert is_of(take("third")) == "again"


@pytest.mark.parametrize("first", ["clean", "run"])
def test_a_run_takes_no_step_that_a_clean_at_the_same_time_removes(
    first: str, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    take("made")
    began = datetime(2026, 11, 1, tzinfo=UTC)
    ended = Record("made", "digits", ProcessIdentity.current(), "succeeded", began, began)
    ended.write(tmp_path / "runs")
    replace(ended, run="again", status="running", created=datetime(2026, 11, 2, tzinfo=UTC)).write(tmp_path / "runs")
    looked_up, planned, find, select = threading.Event(), threading.Event(), Cache.find, retention.selected

    def found(*given: Any) -> Any:
        outputs = find(*given)  # of a run that is still there
        looked_up.set()
        if first == "clean":
            assert planned.wait(30)
        return outputs

    def waiting(*given: Any) -> Any:
        items = select(*given)
        planned.set()
        if first == "clean":
            assert looked_up.wait(30)
            time.sleep(0.3)  # the run is about to say what it reads, and must not until the renames are done
        return items

    monkeypatch.setattr(Cache, "find", found)
    monkeypatch.setattr(retention, "selected", waiting)
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(take, "again")
        if first == "run":
            running.result(60)
        cleaning = threads.submit(retention.clean, Workspace(tmp_path), Keep(runs=1))
        again, cleaned = running.result(60), cleaning.result(60)
    assert is_of(again) == {"clean": "again", "run": "made"}[first]
    assert [item.path.name for item in cleaned.items] == {"clean": ["made"], "run": []}[first]
    assert (Path(again.artifacts["model"].uri) / "weights").is_file()


def test_a_moved_workspace_keeps_its_cached_steps(take: Take, tmp_path: Path):
    take("made")
    (tmp_path / "runs").rename(tmp_path / "moved")
    found = Cache(tmp_path / "moved").find(
        train, json.loads((tmp_path / "moved/made/train" / MADE_OF).read_text())["key"]
    )
    assert found is not None
    assert found.outputs["model"].uri == str(tmp_path / "moved" / "made" / "train" / "model")


@pytest.mark.parametrize("others", [["--target", "vertex"], ["--no-wait"], ["--from", "train"]])
def test_no_cache_where_it_would_mean_nothing_is_refused(others: list[str], tmp_path: Path):
    told = CliRunner().invoke(app, ["run", "digits", "--no-cache", *others, "--workspace", str(tmp_path / "w")])
    assert told.exit_code == 2
    assert "--no-cache: is of all steps of a run on this machine" in told.output
