"""The history of a registered model in a real MLflow: what it keeps, and what is found when it is checked."""

import dataclasses
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from components.config import RegistryConfig
from components.registry import champion
from components.registry.decisions import verify
from components.registry.decisions.history import LINE, History, open_history
from components.registry.decisions.history_run import EXPERIMENT, FILE, HISTORY, HistoryRun
from components.registry.decisions.record import digest
from components.registry.finished import open_finished
from components.registry.promotion import promote
from components.tracking import store
from elboflow.settings import RequestError, WorkError
from tests.components.runs import Run, write
from tests.opened import opened

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.xdist_group("mlflow")

Written = Callable[..., Run]
NAME = "digits-vae"


def history(tracking_uri: str) -> History:
    return open_history(store.connect(tracking_uri), tracking_uri, NAME)


def register(written: Written, values: np.ndarray, tracking_uri: str, gains: list[float]) -> None:
    """Registers a version for each gain, compared with the first one."""
    for night, gain in enumerate(gains, 1):
        noise = np.random.default_rng(night).normal(0, 0.5, len(values)) if night > 1 else np.zeros(len(values))
        written(f"night-{night}", values + noise - noise.mean() + gain).register(tracking_uri)


def artifacts_of(tracking_uri: str) -> Path:
    """Returns the folder of the history's artifacts."""
    return next(Path(tracking_uri.removeprefix("sqlite:///")).parent.rglob(FILE)).parent


def forget_lines(tracking_uri: str) -> None:
    """Removes the tags that say which lines were written."""
    client = store.connect(tracking_uri)
    if HISTORY in client.get_registered_model(NAME).tags:
        client.delete_registered_model_tag(NAME, HISTORY)
    for version in client.search_model_versions(f"name = '{NAME}'"):
        if LINE in version.tags:
            client.delete_model_version_tag(NAME, version.version, LINE)


def flip(path: Path) -> None:
    """Changes a byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def made_nights(dataset: Path, empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with four versions, of which the first and the third became the champion; not to be changed."""
    place = tmp_path_factory.mktemp("nights")
    (place / "workspace").mkdir()
    shutil.copy(empty_database, place / "workspace/mlflow.db")

    def written(name: str, values: np.ndarray) -> Run:
        return write(Run(name, dataset, place / name / "model", place / name / "evaluation"), values, "bernoulli", 0)

    values = np.random.default_rng(0).normal(-30, 5, opened(dataset).manifest.counts["test"])
    register(written, values, f"sqlite:///{place}/workspace/mlflow.db", [0.0, 0.05, 1.0, -0.5])
    return place / "workspace"


@pytest.fixture
def nights(made_nights: Path, tmp_path: Path) -> str:
    """A copy of that workspace: its MLflow."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()  # MLflow remembers where the artifacts of a run are; now they are the copies
    shutil.copytree(made_nights, tmp_path / "workspace")
    return f"sqlite:///{tmp_path}/workspace/mlflow.db"


def test_every_decision_is_a_line_with_what_it_was_made_of_and_by(nights: str) -> None:
    events = history(nights).events
    assert [(event.version, event.before, event.champion) for event in events] == [
        (1, None, 1), (2, 1, 1), (3, 1, 3), (4, 3, 3),
    ]  # fmt: skip
    source = events[2].source
    assert source is not None
    assert source.run == "night-3"
    assert len(source.dataset) == len(source.weights) == len(source.evaluation) == 64
    (look,) = events[2].looks
    assert (look.hypothesis, look.difference, look.spends) == (2, pytest.approx(1.0), "whole")
    assert look.gain is not None
    assert 0.9 < look.gain <= 1.0


def test_the_charts_of_the_history_run_have_the_version_as_their_step(nights: str) -> None:
    client, run_id = store.connect(nights), history(nights).run_id
    run = client.get_run(run_id)
    assert run.info.run_name == NAME
    assert client.get_experiment(run.info.experiment_id).name == EXPERIMENT
    champions = {metric.step: metric.value for metric in client.get_metric_history(run_id, "champion")}
    assert champions == {1: 1.0, 2: 1.0, 3: 3.0, 4: 3.0}
    assert {metric.step for metric in client.get_metric_history(run_id, "gain")} == {2, 3, 4}
    assert run.data.metrics.keys() >= {"bound", "gain_low", "gain_high", "error_budget_spent"}


def test_a_history_is_found_true_and_needs_no_tag_for_it(nights: str) -> None:
    client = store.connect(nights)
    before = history(nights).events
    for version in client.search_model_versions(f"name = '{NAME}'"):
        for tag in version.tags:
            client.delete_model_version_tag(NAME, version.version, tag)
    client.delete_registered_model_tag(NAME, HISTORY)
    client.delete_registered_model_alias(NAME, "champion")
    after = history(nights)
    assert after.events == before
    checked = verify.verify(after)
    assert (checked.events, checked.recomputed, checked.problems, checked.gone) == (4, 3, (), ())


@pytest.mark.parametrize("file", ["examples.npz", "evaluation.json", "metrics.json"])
def test_a_flipped_byte_in_an_evaluation_is_found_and_its_night_named(nights: str, file: str) -> None:
    run_id = history(nights).events[1].source.mlflow_run
    (damaged,) = Path(nights.removeprefix("sqlite:///")).parent.rglob(f"{run_id}/artifacts/evaluation/{file}")
    flip(damaged)
    checked = verify.verify(history(nights))
    (problem,) = checked.problems
    assert problem.startswith("event 2 of ")
    assert f"on version 2: the evaluation in its run {run_id}" in problem


def test_a_flipped_byte_in_the_values_of_a_decision_is_found(nights: str) -> None:
    (values_of_it,) = artifacts_of(nights).glob("decisions/000003-*.npz")
    flip(values_of_it)
    (problem,) = verify.verify(history(nights)).problems
    assert problem.startswith("event 3 of ")
    assert problem.endswith("were changed since then")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"reason":"not surely', '"reason":"truly', "line 3: a line before it was changed or removed"),
        ('"number":2', '"number":7', "line 2: a line before it was changed or removed"),
        ('"format":2,"number":4', '"format":9,"number":4', "line 4: it was written by a newer version of ELBOflow"),
        ('{"format":2,"number":2', '{"number":', "line 2: it is damaged"),
    ],
)
def test_a_changed_line_is_found(nights: str, old: str, new: str, message: str) -> None:
    file = artifacts_of(nights) / FILE
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(WorkError, match=message):
        history(nights)


def test_a_verdict_that_does_not_follow_from_its_values_is_found(nights: str) -> None:
    file = artifacts_of(nights) / FILE
    first, second = file.read_text(encoding="utf-8").splitlines()[:2]
    changed = second.replace('"champion":1', '"champion":2')
    file.write_text(f"{first}\n{changed}\n", encoding="utf-8")
    forget_lines(nights)
    (problem,) = verify.verify(history(nights)).problems
    assert problem.endswith("version 1 follows as the champion from the stored values; it says 2")


def test_a_champion_without_a_comparison_is_found(nights: str) -> None:
    file = artifacts_of(nights) / FILE
    first, second = file.read_text(encoding="utf-8").splitlines()[:2]
    event = json.loads(second) | {"champion": 2, "looks": [], "values": None}
    for repeats in (None, 1):
        file.write_text(f"{first}\n{json.dumps(event | {'repeats': repeats})}\n", encoding="utf-8")
        forget_lines(nights)
        (problem,) = verify.verify(history(nights)).problems
        assert problem.endswith("no comparison says that version 2 is the champion")


def test_decisions_are_made_again_where_the_runs_were_deleted(nights: str) -> None:
    run_id = history(nights).events[1].source.mlflow_run
    (artifacts,) = Path(nights.removeprefix("sqlite:///")).parent.rglob(f"{run_id}/artifacts")
    shutil.rmtree(artifacts)
    checked = verify.verify(history(nights))
    assert (checked.recomputed, checked.problems) == (3, ())
    (gone,) = checked.gone
    assert "event 2" in gone


def test_the_same_weights_are_compared_once_with_a_champion_and_spend_nothing_again(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    written("first", values).register(tracking_uri)
    run = written("second", values - 0.01)
    run.register(tracking_uri)
    again = Run("second again", run.dataset, run.model, run.evaluation).register(tracking_uri)
    assert again.reason.startswith(
        "not compared again: version 2 has the same weights, and this result: worse than version 1, the champion"
    )
    third = written("third", values - 0.02).register(tracking_uri)
    assert third.version == 4
    events = history(tracking_uri).events
    assert [event.looks[0].hypothesis if event.looks else None for event in events] == [None, 1, None, 2]


def test_an_alias_that_was_moved_by_hand_is_a_line_of_the_history(
    written: Written, values: np.ndarray, nights: str
) -> None:
    store.connect(nights).set_registered_model_alias(NAME, "champion", "2")
    written("night-5", values).register(nights)
    seen, decided = history(nights).events[-2:]
    assert (seen.kind, seen.before, seen.champion) == ("seen", 3, 2)
    assert decided.before == 2
    tags = store.connect(nights).get_model_version(NAME, "2").tags
    assert (tags[champion.PROMOTED], tags[champion.REASON]) == ("true", "the alias 'champion' was moved by hand")


def test_a_refused_rollback_or_promotion_writes_no_line(nights: str) -> None:
    client = store.connect(nights)
    client.set_registered_model_alias(NAME, "champion", "1")
    with pytest.raises(RequestError, match="version 1 of digits-vae is the champion already"):
        champion.promote_by_hand(client, client.get_model_version(NAME, "1"), "again")
    client.delete_model_version(NAME, "3")
    with pytest.raises(RequestError, match="no version of digits-vae that is still there was the champion before"):
        champion.roll_back(client, NAME, None)
    assert len(history(nights).events) == 4


def test_a_rollback_goes_to_the_champion_before_and_the_next_one_further_back(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    register(written, values, tracking_uri, [0.0, 1.0, 2.0])
    client = store.connect(tracking_uri)
    assert champion.roll_back(client, NAME, "it blurs").champion == 2
    assert champion.roll_back(client, NAME, None).champion == 1
    with pytest.raises(RequestError, match="no version of digits-vae that is still there was the champion before"):
        champion.roll_back(client, NAME, None)
    assert client.get_model_version_by_alias(NAME, "champion").version == 1
    assert [event.reason for event in history(tracking_uri).events[3:]] == ["rolled back: it blurs", "rolled back"]


def test_a_rollback_passes_over_versions_that_were_deleted(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    register(written, values, tracking_uri, [0.0, 1.0, 2.0])
    client = store.connect(tracking_uri)
    client.delete_model_version(NAME, "2")
    assert champion.roll_back(client, NAME, None).champion == 1
    assert verify.verify(history(tracking_uri)).problems == ()


def test_a_rollback_whose_earlier_champions_were_deleted_says_so_and_changes_nothing(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    register(written, values, tracking_uri, [0.0, 1.0])
    client = store.connect(tracking_uri)
    client.delete_model_version(NAME, "1")
    with pytest.raises(RequestError, match=r"was the champion before; version 1 was, and deleted since"):
        champion.roll_back(client, NAME, None)
    assert len(history(tracking_uri).events) == 2


def test_a_person_can_promote_a_version_and_the_next_newcomer_is_compared_with_it(
    written: Written, values: np.ndarray, nights: str
) -> None:
    client = store.connect(nights)
    event = champion.promote_by_hand(client, client.get_model_version(NAME, "4"), "prettier samples")
    assert (event.before, event.champion, event.reason) == (3, 4, "promoted by hand: prettier samples")
    with pytest.raises(RequestError, match="version 4 of digits-vae is the champion already"):
        champion.promote_by_hand(client, client.get_model_version(NAME, "4"), "again")
    assert "than version 4, the champion" in written("night-5", values + 2).register(nights).reason


def test_a_rollback_counts_from_the_last_time_that_a_version_was_the_champion(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    register(written, values, tracking_uri, [0.0, 1.0])
    client = store.connect(tracking_uri)
    champion.promote_by_hand(client, client.get_model_version(NAME, "1"), "sharper")
    assert written("night-3", values + 3).register(tracking_uri).promoted
    assert [champion.roll_back(client, NAME, None).champion for _ in range(3)] == [1, 2, 1]


def test_a_reason_of_several_lines_is_one_line_of_the_history(nights: str) -> None:
    client = store.connect(nights)
    champion.promote_by_hand(client, client.get_model_version(NAME, "4"), "one\n two\u2028three\x85four")
    assert champion.roll_back(client, NAME, None).champion == 3
    assert verify.verify(history(nights)).problems == ()


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_decision_that_was_killed_before_the_alias_moved_is_completed_by_the_next_version(
    written: Written, values: np.ndarray, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    register(written, values, tracking_uri, [0.0])
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", stop)
        with pytest.raises(KeyboardInterrupt):
            written("night-2", values + 1).register(tracking_uri)
    assert "than version 2, the champion" in written("night-3", values).register(tracking_uri).reason
    assert [event.kind for event in history(tracking_uri).events] == ["decision"] * 3
    assert store.connect(tracking_uri).get_model_version(NAME, "2").tags[champion.PROMOTED] == "true"


KILLED_IN = ["set_registered_model_tag", "set_model_version_tag", "set_registered_model_alias"]


@pytest.mark.parametrize("killed_in", KILLED_IN)
def test_a_rollback_that_was_killed_after_its_line_is_finished_by_the_next_version(
    written: Written, values: np.ndarray, nights: str, monkeypatch: pytest.MonkeyPatch, killed_in: str
) -> None:
    kill_after_the_line(monkeypatch, killed_in, lambda client: champion.roll_back(client, NAME, "it blurs"), nights)
    assert "version 1, the champion" in written("night-5", values - 1).register(nights).reason
    assert [(event.kind, event.champion) for event in history(nights).events[-2:]] == [
        ("rolled back", 1),
        ("decision", 1),
    ]
    assert store.connect(nights).get_model_version_by_alias(NAME, "champion").version == 1


@pytest.mark.parametrize("killed_in", KILLED_IN)
def test_the_same_command_after_a_kill_finishes_the_change_and_does_it_once(
    nights: str, monkeypatch: pytest.MonkeyPatch, killed_in: str
) -> None:
    def by_hand(client: "MlflowClient") -> champion.Event:
        return champion.promote_by_hand(client, client.get_model_version(NAME, "4"), "sharper")

    def back(client: "MlflowClient") -> champion.Event:
        return champion.roll_back(client, NAME, None)

    for change, expected in ((by_hand, 4), (back, 3)):
        kill_after_the_line(monkeypatch, killed_in, change, nights)
        client = store.connect(nights)
        assert change(client).champion == expected
        assert client.get_model_version_by_alias(NAME, "champion").version == expected
    assert [event.kind for event in history(nights).events[4:]] == ["promoted by hand", "rolled back"]


def test_an_alias_that_was_moved_by_hand_after_a_kill_stays_where_the_person_put_it(
    written: Written, values: np.ndarray, nights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after_the_line(monkeypatch, KILLED_IN[-1], lambda client: champion.roll_back(client, NAME, None), nights)
    store.connect(nights).set_registered_model_alias(NAME, "champion", "4")
    written("night-5", values - 2).register(nights)
    kinds = [(event.kind, event.champion) for event in history(nights).events[-3:]]
    assert kinds == [("rolled back", 1), ("seen", 4), ("decision", 4)]


def test_a_version_whose_alias_a_person_removed_goes_on_counting_as_promoted(nights: str) -> None:
    client = store.connect(nights)
    client.delete_registered_model_alias(NAME, "champion")
    found = champion.found_elsewhere(history(nights), None)
    assert found is not None
    champion.record_seen(history(nights), found)
    assert champion.finish_interrupted(history(nights)) is None
    assert champion.roll_back(client, NAME, None).champion == 3
    assert client.get_model_version(NAME, "3").tags[champion.PROMOTED] == "true"


def test_an_alias_that_was_moved_back_by_hand_after_a_rollback_stays_where_the_person_put_it(
    written: Written, values: np.ndarray, nights: str
) -> None:
    client = store.connect(nights)
    champion.roll_back(client, NAME, None)
    client.set_registered_model_alias(NAME, "champion", "3")
    written("night-5", values - 2).register(nights)
    assert [(event.kind, event.champion) for event in history(nights).events[-2:]] == [("seen", 3), ("decision", 3)]


def kill_after_the_line(
    monkeypatch: pytest.MonkeyPatch, killed_in: str, change: Callable[["MlflowClient"], object], tracking_uri: str
) -> None:
    """Makes a change, which is killed after its line was written, where it would call a function of MLflow's client."""
    import mlflow

    called, before = getattr(mlflow.MlflowClient, killed_in), len(history(tracking_uri).events)

    def kill(client: "MlflowClient", *arguments: object, **named: object) -> None:
        if len((artifacts_of(tracking_uri) / FILE).read_text(encoding="utf-8").splitlines()) > before:
            raise KeyboardInterrupt
        called(client, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, killed_in, kill)
        with pytest.raises(KeyboardInterrupt):
            change(store.connect(tracking_uri))
    assert len(history(tracking_uri).events) == before + 1


def test_a_challenger_that_was_deleted_by_hand_stops_no_registration(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    register(written, values, tracking_uri, [0.0, 0.15])
    decided = history(tracking_uri).events[-1]
    assert decided.challenger == 2, decided.reason
    client = store.connect(tracking_uri)
    client.delete_model_version(NAME, "2")
    assert not written("night-3", values - 1).register(tracking_uri).promoted
    assert "challenger" not in client.get_registered_model(NAME).aliases


def test_damaged_values_of_an_earlier_night_of_the_challenger_stop_no_registration(
    written: Written, values: np.ndarray, tracking_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    register(written, values, tracking_uri, [0.0, 0.15])
    assert history(tracking_uri).events[-1].challenger == 2
    (values_of_it,) = artifacts_of(tracking_uri).glob("decisions/000002-*.npz")
    flip(values_of_it)
    assert not written("night-3", values - 1).register(tracking_uri).promoted
    told = "left out of what is known of version 2, the challenger: the values that event 2, on version 2 of digits-vae"
    assert [message.startswith(told) for message in caplog.messages if "challenger" in message] == [True]
    decided = history(tracking_uri).events[-1]
    assert (decided.left_out, decided.challenger, decided.looks[0].spends) == ((2,), None, "part")
    (problem,) = verify.verify(history(tracking_uri)).problems
    assert problem.startswith("event 2 of ")
    flip(values_of_it)
    assert verify.verify(history(tracking_uri)).problems == ()


def test_a_changed_error_budget_keeps_what_was_spent_and_is_verified(
    written: Written, values: np.ndarray, nights: str
) -> None:
    def registered(night: str, gain: float, error_budget: float) -> str:
        registry = RegistryConfig(canary=False, baseline=False, error_budget=error_budget)
        return written(night, values + gain).register(nights, registry=registry).reason

    told = registered("night-5", 2.0, 0.001)
    assert told.endswith("; more was spent already than the error budget of 0.001, so that no test can promote")
    assert registered("night-6", 2.0, 0.05).startswith("better than version 3, the champion")
    events = history(nights).events
    assert [event.champion for event in events[-2:]] == [3, 6]
    assert verify.verify(history(nights)).problems == ()
    spent = store.connect(nights).get_metric_history(history(nights).run_id, "error_budget_spent")
    assert spent[-2].value == spent[-3].value < spent[-1].value < 0.05


def test_a_model_that_was_deleted_and_made_anew_has_a_first_champion_again(
    written: Written, values: np.ndarray, nights: str
) -> None:
    client = store.connect(nights)
    client.delete_registered_model(NAME)
    anew = written("anew", values - 1).register(nights)
    assert (anew.version, anew.promoted) == (1, True)
    assert [(event.kind, event.champion) for event in history(nights).events[-2:]] == [("seen", None), ("decision", 1)]


def test_registrations_that_begin_a_history_at_once_have_one_history(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    register(written, values, tracking_uri, [0.0])
    late = dataclasses.replace(history(tracking_uri), run=None, text="", events=())
    with pytest.raises(WorkError, match="another version of digits-vae was decided on at the same time"):
        late.with_event(champion.by_person(late, "promoted by hand", 2, 2, "late"))
    client = store.connect(tracking_uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert len(client.search_runs([experiment.experiment_id])) == 1


def test_the_chart_of_the_champion_ends_with_the_current_one_after_a_rollback(
    written: Written, values: np.ndarray, nights: str
) -> None:
    client, run_id = store.connect(nights), history(nights).run_id
    champion.roll_back(client, NAME, None)
    assert client.get_run(run_id).data.metrics["champion"] == 1
    drawn = [(metric.step, metric.value) for metric in client.get_metric_history(run_id, "champion")]
    assert drawn == [(1, 1), (2, 1), (3, 3), (4, 3), (4, 1)]
    written("night-5", values - 2).register(nights)
    assert (client.get_metric_history(run_id, "champion")[-1].step) == 5


def test_a_history_run_that_was_renamed_goes_on(written: Written, values: np.ndarray, nights: str) -> None:
    store.connect(nights).update_run(history(nights).run_id, name="keep this")
    written("night-5", values).register(nights)
    assert len(history(nights).events) == 5


def test_a_registered_model_that_was_renamed_keeps_its_history_and_another_of_its_name_begins_one(
    written: Written, values: np.ndarray, nights: str
) -> None:
    client = store.connect(nights)
    client.rename_registered_model(NAME, "renamed")
    anew = written("anew", values).register(nights)
    assert (anew.version, anew.promoted) == (1, True)
    assert len(history(nights).events) == 1
    renamed = open_history(client, nights, "renamed")
    assert len(renamed.events) == 4
    assert verify.verify(renamed).problems == ()


@pytest.mark.parametrize("tagged", [True, False])
def test_a_history_that_was_deleted_by_hand_is_not_begun_anew(
    written: Written, values: np.ndarray, nights: str, tagged: bool
) -> None:
    client, run_id = store.connect(nights), history(nights).run_id
    if not tagged:
        forget_lines(nights)
    client.delete_run(run_id)
    with pytest.raises(WorkError, match=f"was deleted; restore it: mlflow runs restore --run-id {run_id}"):
        written("night-5", values).register(nights)
    with pytest.raises(WorkError, match="was deleted"):
        champion.roll_back(client, NAME, None)
    client.restore_run(run_id)
    assert not written("night-5", values).register(nights).promoted
    assert [event.version for event in history(nights).events] == [1, 2, 3, 4, 5]


def test_an_experiment_of_histories_that_was_deleted_is_named(nights: str) -> None:
    client = store.connect(nights)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    client.delete_experiment(experiment)
    told = f"was deleted; restore it: mlflow experiments restore --experiment-id {experiment}"
    with pytest.raises(WorkError, match=told):
        history(nights)
    client.delete_registered_model_tag(NAME, HISTORY)
    with pytest.raises(WorkError, match=told):
        history(nights)
    client.restore_experiment(experiment)
    assert len(history(nights).events) == 4


def test_a_history_that_mlflow_has_no_more_is_told_until_a_person_begins_a_new_one(nights: str) -> None:
    client = store.connect(nights)
    client.set_registered_model_tag(NAME, HISTORY, f"{'f' * 32} 4 {'0' * 64}")
    with pytest.raises(WorkError, match=f"does not have any more; to begin a new history, remove the tag {HISTORY}"):
        history(nights)


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "line 4, the last one .* changed or removed"),
        (lambda text: text.replace('"reason":"worse than version 3', '"reason":"worse'), "line 4, the last one"),
        (lambda _: "", "line 4, the last one"),
    ],
)
def test_lines_that_were_removed_from_the_end_are_noticed_by_the_next_decision_and_by_verify(
    written: Written, values: np.ndarray, nights: str, removed: Callable[[str], str], message: str
) -> None:
    file = artifacts_of(nights) / FILE
    text = file.read_text(encoding="utf-8")
    assert removed(text) != text
    file.write_text(removed(text), encoding="utf-8")
    with pytest.raises(WorkError, match=message):
        history(nights)
    with pytest.raises(WorkError, match=message):
        written("night-5", values).register(nights)
    store.connect(nights).delete_registered_model_tag(NAME, HISTORY)
    told = f"version 4 of {NAME} was decided on by a line of {FILE} that is not there any more"
    assert any(problem.startswith(told) for problem in verify.verify(history(nights)).problems)
    with pytest.raises(WorkError, match=told):
        written("night-6", values).register(nights)
    file.write_text(text, encoding="utf-8")
    assert verify.verify(history(nights)).problems == ()


def test_a_line_that_another_process_replaced_is_noticed_at_once_or_by_the_next_decision(
    written: Written, values: np.ndarray, nights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = history(nights), history(nights)
    client, file = store.connect(nights), artifacts_of(nights) / FILE

    def replaced(history: History, by: History) -> str:
        """What a process writes that had compared before the other one wrote."""
        return f"{by.text}{champion.by_person(history, 'promoted by hand', 2, 2, 'by the second').line}\n"

    write = HistoryRun.write
    with monkeypatch.context() as patch:

        def write_and_lose(self: HistoryRun, name: str, content: bytes) -> None:
            write(self, name, content)
            file.write_text(replaced(second, second), encoding="utf-8")

        patch.setattr(HistoryRun, "write", write_and_lose)
        with pytest.raises(WorkError, match="was decided on at the same time: register this one again"):
            first.with_event(champion.by_person(first, "promoted by hand", 1, 1, "by the first"))
    file.write_text(first.text, encoding="utf-8")
    after = first.with_event(champion.by_person(first, "promoted by hand", 1, 1, "by the first"))
    champion.move_alias(after, after.events[-1])
    file.write_text(replaced(second, second), encoding="utf-8")
    forged = HISTORY, f"{first.run_id} 5 {digest(file.read_text(encoding='utf-8').splitlines()[-1])}"
    client.set_registered_model_tag(NAME, *forged)  # as the second one leaves it
    told = f"version 1 of {NAME} was decided on by a line of {FILE} that is not there any more"
    assert verify.verify(history(nights)).problems[-1].startswith(told)
    with pytest.raises(WorkError, match=told):
        written("night-5", values).register(nights)


def test_two_decisions_at_the_same_time_do_not_overwrite_each_other(nights: str) -> None:
    first, second = history(nights), history(nights)
    first.with_event(champion.by_person(first, "promoted by hand", 1, 1, "by the first"))
    with pytest.raises(WorkError, match="another version of digits-vae was decided on at the same time"):
        second.with_event(champion.by_person(second, "promoted by hand", 2, 2, "by the second"))
    assert history(nights).events[-1].reason == "by the first"


def _decide(client: "MlflowClient", experiment: str, run: Run) -> None:
    """Decides on a run whose version is made without what registration logs besides."""
    made = client.create_run(experiment)
    client.log_artifacts(made.info.run_id, str(run.evaluation), "evaluation")
    files = run.model.parent
    described = {"flavors": {"python_function": {"artifacts": {"model": {"path": "model"}}}}}
    (files / "MLmodel").write_text(json.dumps(described), encoding="utf-8")
    version = client.create_model_version(NAME, files.as_uri(), made.info.run_id)
    promote(
        client,
        version,
        open_finished(run.dataset, run.model, run.evaluation),
        RegistryConfig(canary=False, baseline=False),
    )


@pytest.mark.slow
def test_after_200_nights_the_same_history_results_from_stored_values_alone(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    client = store.connect(tracking_uri)
    client.create_registered_model(NAME)
    experiment = store.experiment_id(client, tracking_uri, "digits")
    for night in range(200):
        noise = np.random.default_rng(night).normal(0, 0.5, len(values))
        gain = 0.8 * (night // 25) + (0.3 if night % 7 == 0 else 0.0)
        _decide(client, experiment, written(f"night-{night}", values + noise + gain))
    with closing(sqlite3.connect(tracking_uri.removeprefix("sqlite:///"))) as database:
        for table in ("model_version_tags", "registered_model_tags", "registered_model_aliases"):
            database.execute(f"delete from {table}")
        database.commit()
    checked = verify.verify(history(tracking_uri))
    assert (checked.events, checked.problems, checked.gone) == (200, (), ())
    assert checked.recomputed == 199
    champions = {event.champion for event in history(tracking_uri).events}
    assert len(champions) >= 8
    event = history(tracking_uri).events[140]
    (damaged,) = Path(tracking_uri.removeprefix("sqlite:///")).parent.rglob(
        f"{event.source.mlflow_run}/artifacts/evaluation/examples.npz"
    )
    flip(damaged)
    (problem,) = verify.verify(history(tracking_uri)).problems
    assert problem.startswith("event 141 of ")


def test_descriptions_follow_a_rollback_and_keep_what_a_person_has_edited(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    register(written, values, tracking_uri, [0.0, 1.0, 2.0])
    client = store.connect(tracking_uri)
    champion.roll_back(client, NAME, "it blurs")
    about = client.get_registered_model(NAME).description
    assert "The latest that was promoted: [version 2](" in about
    assert "Rolled back: it blurs." in about
    card = client.get_model_version(NAME, "2").description
    assert card.startswith("Promoted to champion: rolled back: it blurs.\n\n- **Data**")
    client.update_model_version(NAME, "1", "kept for comparison")
    champion.roll_back(client, NAME, None)
    assert client.get_model_version(NAME, "1").description == "kept for comparison"
