"""The alias `champion` moves only to a model that is better on the same test examples."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.config import RegistryConfig
from components.preprocess import preprocess
from components.registry.champion import PROMOTED
from components.registry.decisions import verify
from components.registry.decisions.history import open_history
from components.registry.finished import Finished, open_finished
from components.registry.promotion import Decision, promote
from components.registry.resolve import resolve
from components.tracking import store
from elboflow import artifacts
from elboflow.settings import RequestError
from preprocessing.config import DataConfig
from tests.components.runs import Run, write
from tests.opened import opened

pytestmark = pytest.mark.xdist_group("mlflow")

Written = Callable[..., Run]
ASKED = RegistryConfig(canary=False)


def champion(tracking_uri: str) -> int:
    return int(store.connect(tracking_uri).get_model_version_by_alias("digits-vae", "champion").version)


def test_the_first_version_becomes_the_champion(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    registered = written("first", values).register(tracking_uri)
    assert (registered.version, registered.promoted) == (1, True)
    assert registered.reason == "no version of digits-vae was the champion when it came"
    assert champion(tracking_uri) == 1


def test_a_better_model_becomes_the_champion(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    written("first", values).register(tracking_uri)
    registered = written("second", values + 0.5).register(tracking_uri)
    assert registered.promoted
    assert registered.reason.startswith("better than version 1, the champion: +0.500 nats, 95% interval +0.500 to")
    assert champion(tracking_uri) == 2


def test_a_model_that_may_be_better_by_luck_is_not_promoted(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    noise = np.random.default_rng(1).normal(0, 5, len(values))
    written("first", values).register(tracking_uri)
    registered = written("second", values + noise - noise.mean() + 0.1).register(tracking_uri)
    assert not registered.promoted
    assert registered.reason.startswith("not surely better than version 1, the champion: +0.100 nats, 95% interval -")
    assert champion(tracking_uri) == 1


def test_a_worse_model_is_not_promoted(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    written("first", values).register(tracking_uri)
    registered = written("second", values - 0.5).register(tracking_uri)
    assert not registered.promoted
    assert registered.reason.startswith("worse than version 1, the champion: -0.500 nats")


def test_each_newcomer_is_compared_with_todays_champion_and_never_with_itself(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    steps = {"first": 0.0, "second": 1.0, "third": 0.75, "fourth": 1.5}
    reasons = [written(name, values + step).register(tracking_uri).reason for name, step in steps.items()]
    assert "than version 1, the champion: +1.000 nats" in reasons[1]
    assert "than version 2, the champion: -0.250 nats" in reasons[2]
    assert "than version 2, the champion: +0.500 nats" in reasons[3]


def test_a_champion_made_by_hand_is_the_one_to_beat(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    written("first", values).register(tracking_uri)
    written("second", values - 2).register(tracking_uri)
    store.connect(tracking_uri).set_registered_model_alias("digits-vae", "champion", "2")
    registered = written("third", values - 1).register(tracking_uri)
    assert registered.promoted
    assert registered.reason.startswith("better than version 2, the champion: +1.000 nats")


def test_the_examples_are_paired_whatever_their_order(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    written("first", values).register(tracking_uri)
    run = written("second", values + 0.5)
    with np.load(run.evaluation / "examples.npz") as columns:
        np.savez(run.evaluation / "examples.npz", **{name: column[::-1] for name, column in columns.items()})
    facts = artifacts.load(run.evaluation, "evaluation")
    artifacts.commit(run.evaluation, "evaluation", facts, facts["files"])
    assert "+0.500 nats, 95% interval +0.500 to +0.500" in run.register(tracking_uri).reason


def test_copies_of_a_few_examples_promote_nothing(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    reasons = []
    for name, shift in (("first", 0.0), ("second", 0.5)):
        run = written(name, values + shift)
        with np.load(run.evaluation / "examples.npz") as columns:
            keys = columns["key"][np.arange(len(values)) % 3]
        np.savez(run.evaluation / "examples.npz", key=keys, log_likelihood=values + shift)
        facts = artifacts.load(run.evaluation, "evaluation")
        artifacts.commit(run.evaluation, "evaluation", facts, facts["files"])
        reasons.append(run.register(tracking_uri).reason)
    told = f"{len(values)} examples, 3 of them distinct, too few to tell (at least 20)"
    assert reasons[1].startswith("not surely better than version 1, the champion: +0.500 nats")
    assert reasons[1].endswith(told)
    assert champion(tracking_uri) == 1


def test_models_of_different_things_are_not_compared(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    written("first", values).register(tracking_uri)
    registered = written("second", values + 9, likelihood="categorical").register(tracking_uri)
    assert not registered.promoted
    assert registered.reason.startswith(
        "cannot be compared with version 1, the champion: it models the likelihood of codes, the champion the "
        "likelihood of bits (dynamic binarisation); to promote it all the same: elboflow models promote models:/digits-"
    )


def test_models_of_two_features_of_one_shape_are_not_compared(
    written: Written, values: np.ndarray, tracking_uri: str, tmp_path: Path
) -> None:
    written("first", values).register(tracking_uri)
    other = tmp_path / "two-features"
    arrays = np.random.default_rng(0).integers(0, 17, (2, 200, 8, 8, 1))
    np.savez(tmp_path / "x.npz", image=arrays[0], depth=arrays[1])
    feature = {"kind": "image", "shape": [8, 8, 1], "range": [0, 16]}
    config = {"source": {"kind": "npz", "path": f"{tmp_path}/x.npz"}, "features": {"image": feature, "depth": feature}}
    preprocess(DataConfig.model_validate(config), other)
    run = Run("second", other, tmp_path / "second/model", tmp_path / "second/evaluation")
    write(
        run,
        np.zeros(opened(other, "depth").manifest.counts["test"]),
        "bernoulli",
        seed=0,
        input="depth",
    )
    registered = run.register(tracking_uri)
    assert not registered.promoted
    assert "it models 'depth' of shape [8, 8, 1] with 17 levels, the champion 'image'" in registered.reason


def test_models_of_images_in_other_ranges_are_not_compared(
    written: Written, values: np.ndarray, tracking_uri: str, tmp_path: Path
) -> None:
    written("first", values).register(tracking_uri)
    np.savez(tmp_path / "x.npz", image=np.random.default_rng(0).integers(0, 33, (200, 8, 8, 1)))
    image = {"kind": "image", "shape": [8, 8, 1], "range": [0, 32], "levels": 17, "quantise": True}
    config = {"source": {"kind": "npz", "path": f"{tmp_path}/x.npz"}, "features": {"image": image}}
    preprocess(DataConfig.model_validate(config), tmp_path / "other")
    run = Run("second", tmp_path / "other", tmp_path / "second/model", tmp_path / "second/evaluation")
    write(run, np.zeros(opened(run.dataset).manifest.counts["test"]), "bernoulli", seed=0)
    registered = run.register(tracking_uri)
    assert not registered.promoted
    assert "it models 'image' of range [0, 32], the champion of range [0, 16]; to promote it" in registered.reason


def test_a_version_that_comes_after_the_alias_was_removed_becomes_the_champion(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    written("first", values).register(tracking_uri)
    store.connect(tracking_uri).delete_registered_model_alias("digits-vae", "champion")
    registered = written("second", values - 1).register(tracking_uri)
    assert (registered.version, registered.promoted) == (2, True)
    assert registered.reason == "no version of digits-vae was the champion when it came"


def test_models_of_the_same_codes_are_compared_whatever_their_likelihood(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    written("first", values, likelihood="discretized_logistic").register(tracking_uri)
    assert written("second", values + 0.5, likelihood="categorical").register(tracking_uri).promoted


def test_a_champion_whose_files_are_gone_keeps_the_alias(
    written: Written, values: np.ndarray, tracking_uri: str, tmp_path: Path
) -> None:
    written("first", values).register(tracking_uri)
    shutil.rmtree(tmp_path / "workspace/mlartifacts/digits/models")
    registered = written("second", values + 1).register(tracking_uri)
    assert not registered.promoted
    assert "cannot be compared with version 1, the champion: MLflow does not have the files" in registered.reason


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        pytest.param("examples.npz", 100, id="truncated-examples.npz"),
        pytest.param("examples.npz", 0, id="empty-examples.npz", marks=pytest.mark.slow),
        pytest.param("evaluation.json", 100, id="truncated-evaluation.json", marks=pytest.mark.slow),
        pytest.param("evaluation.json", 0, id="empty-evaluation.json", marks=pytest.mark.slow),
    ],
)
def test_a_champions_damaged_evaluation_does_not_count(
    written: Written, values: np.ndarray, tracking_uri: str, tmp_path: Path, name: str, kept: int
) -> None:
    written("first", values).register(tracking_uri)
    (damaged,) = (tmp_path / "workspace/mlartifacts").rglob(name)
    damaged.write_bytes(damaged.read_bytes()[:kept])
    registered = written("second", values + 1).register(tracking_uri)
    assert not registered.promoted
    assert "could not be evaluated" in registered.reason  # it was rescored: its network is a file of any bytes


@pytest.mark.slow
def test_a_champion_that_cannot_be_rescored_keeps_the_alias(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    written("first", values, seed=1).register(tracking_uri)  # other bits: its values do not count
    registered = written("second", values + 1, seed=0).register(tracking_uri)
    assert not registered.promoted
    assert "could not be evaluated" in registered.reason


def test_a_version_is_decided_on_once(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    written("first", values).register(tracking_uri)
    run = written("second", values - 0.5)
    registered = run.register(tracking_uri)
    client = store.connect(tracking_uri)
    client.delete_registered_model_alias("digits-vae", "champion")
    again = promote(
        client, client.get_model_version("digits-vae", "2"), finished(run), RegistryConfig(canary=False, baseline=False)
    )
    assert again == Decision(False, registered.reason)
    assert "champion" not in client.get_registered_model("digits-vae").aliases


def test_a_promotion_that_was_killed_before_its_verdict_keeps_its_reason(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    run = written("first", values)
    registered = run.register(tracking_uri)
    client = store.connect(tracking_uri)
    client.delete_model_version_tag("digits-vae", "1", PROMOTED)
    again = promote(
        client, client.get_model_version("digits-vae", "1"), finished(run), RegistryConfig(canary=False, baseline=False)
    )
    assert again == Decision(True, registered.reason)
    assert client.get_model_version("digits-vae", "1").tags[PROMOTED] == "true"


def test_the_code_that_is_stored_with_a_version_is_not_run(
    written: Written, values: np.ndarray, tracking_uri: str, tmp_path: Path
) -> None:
    written("first", values).register(tracking_uri)
    (stored,) = (tmp_path / "workspace/mlartifacts").rglob("serving.py")
    stored.write_text("from components import a_module_of_another_version\n", encoding="utf-8")
    assert (resolve("models:/digits-vae@champion", tmp_path, tracking_uri) / "model.json").is_file()
    assert written("second", values + 0.5).register(tracking_uri).promoted


def finished(run: Run) -> Finished:
    return open_finished(run.dataset, run.model, run.evaluation)


def test_another_metric_decides_where_less_is_better(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    by_distance = RegistryConfig(decides_by="distance", canary=False, baseline=False)
    near, far = np.linspace(1, 2, len(values)), np.linspace(3, 4, len(values))
    written("far", values, distance=far).register(tracking_uri, registry=by_distance)
    nearer = written("near", values - 9, distance=near).register(tracking_uri, registry=by_distance)
    assert nearer.promoted
    assert nearer.reason.startswith("better than version 1, the champion: +2.000, 95% interval +2.000 to +2.000")
    again = written("far again", values + 9, distance=far).register(tracking_uri, registry=by_distance)
    assert again.reason.startswith("worse than version 2, the champion: -2.000")


def test_a_metric_that_cannot_decide_is_refused_with_those_that_can(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    run = written("first", values, distance=values)
    for name in ("active_units", "bits_per_dim", "kl", "fid"):
        with pytest.raises(
            RequestError, match=rf"decides_by: '{name}' .* those that have are log_likelihood, distance"
        ):
            run.register(tracking_uri, registry=RegistryConfig(decides_by=name))
    assert not store.connect(tracking_uri).search_registered_models()


def test_a_model_that_is_better_on_average_and_worse_on_a_guarded_class_is_not_promoted(
    written: Written, values: np.ndarray, tracking_uri: str, dataset: Path
) -> None:
    labels = opened(dataset).dataset.read("test")["label"].reshape(-1)
    threes = labels == 3
    uneven = values + np.where(threes, -0.5, 1.0)
    guarded = RegistryConfig.model_validate({"guard": [{"feature": "label", "tolerance": 0.2}], "canary": False})
    written("first", values).register(tracking_uri)
    refused = written("second", uneven).register(tracking_uri, registry=guarded)
    assert not refused.promoted
    expected = f"0.500 worse on label 3 ({threes.sum()} examples), where 0.2 is tolerated"
    assert refused.reason == f"version 2 is better than version 1, the champion on average, and {expected}"


def test_a_guard_tolerates_what_it_says_and_looks_at_the_classes_that_it_names(
    written: Written, values: np.ndarray, tracking_uri: str, dataset: Path
) -> None:
    labels = opened(dataset).dataset.read("test")["label"].reshape(-1)
    common = int(np.bincount(labels).argmax())
    worse = values + np.where(labels == common, -0.5, 1.0)

    def registry(**guard: object) -> RegistryConfig:
        return RegistryConfig.model_validate({"guard": [{"feature": "label", **guard}], "canary": False})

    written("first", values).register(tracking_uri)
    refused = written("second", worse).register(tracking_uri, registry=registry(values=[common], tolerance=0.4))
    assert refused.reason.endswith(
        f"0.500 worse on label {common} ({(labels == common).sum()} examples), where 0.4 is tolerated"
    )
    other = written("third", worse + 0.01).register(tracking_uri, registry=registry(values=[(common + 1) % 10]))
    assert other.promoted
    history = open_history(store.connect(tracking_uri), tracking_uri, "digits-vae")
    assert history.events[1].veto is not None
    assert verify.verify(history).problems == ()


def test_a_broken_guard_says_the_name_of_the_class_which_is_stored_with_the_values(
    tracking_uri: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    labels = np.array(["cat", "dog"])[rng.integers(0, 2, 3000)]
    np.savez(tmp_path / "x.npz", image=rng.integers(0, 17, (3000, 8, 8, 1)), label=labels)
    image = {"kind": "image", "shape": [8, 8, 1], "range": [0, 16]}
    features = {"image": image, "label": {"kind": "category"}}
    source = {"kind": "npz", "path": f"{tmp_path}/x.npz"}
    preprocess(DataConfig.model_validate({"source": source, "features": features}), tmp_path / "pets")
    dogs = opened(tmp_path / "pets").dataset.read("test")["label"].reshape(-1) == 1
    guarded = RegistryConfig.model_validate(
        {"guard": [{"feature": "label", "values": ["dog"], "tolerance": 0.2}], "canary": False, "baseline": False}
    )

    def registered(name: str, values: np.ndarray) -> str:
        run = Run(name, tmp_path / "pets", tmp_path / name / "model", tmp_path / name / "evaluation")
        return write(run, values, "bernoulli", 0).register(tracking_uri, registry=guarded).reason

    values = rng.normal(-30, 5, len(dogs))
    registered("first", values)
    told = registered("second", values + np.where(dogs, -0.5, 2.0))
    assert told.endswith(f"0.500 worse on label 'dog' ({dogs.sum()} examples), where 0.2 is tolerated")
    history = open_history(store.connect(tracking_uri), tracking_uri, "digits-vae")
    assert [str(name) for name in history.values(2)["names:label"]] == ["cat", "dog"]
    assert verify.verify(history).problems == ()


def test_a_guard_of_what_is_no_category_is_refused(written: Written, values: np.ndarray, tracking_uri: str) -> None:
    run = written("first", values)
    for guard, told in (
        ({"feature": "image"}, "registry.guard.0.feature: 'image' is no category of the dataset; there 'image' is of"),
        ({"feature": "label", "values": ["three"]}, "the classes of 'label' are whole numbers; 'three' is none"),
    ):
        with pytest.raises(RequestError, match=re.escape(told)):
            run.register(tracking_uri, registry=RegistryConfig.model_validate({"guard": [guard]}))


def test_the_first_version_must_be_better_than_the_baseline_of_its_evaluation(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    noise = np.random.default_rng(1).normal(0, 1, len(values))
    useless = written("first", values + noise - noise.mean(), baseline=values + 0.5).register(
        tracking_uri, registry=ASKED
    )
    assert not useless.promoted
    assert useless.reason.startswith("worse than a baseline of independent values: -0.500 nats")
    client = store.connect(tracking_uri)
    assert "champion" not in client.get_registered_model("digits-vae").aliases
    learned = written("second", values + 2, baseline=values).register(tracking_uri, registry=ASKED)
    assert learned.promoted
    assert learned.reason.startswith("better than a baseline of independent values: +2.000 nats")
    third = written("third", values + 3, baseline=values).register(tracking_uri, registry=ASKED)
    assert third.reason.startswith("better than version 2, the champion: +1.000 nats")
    history = open_history(client, tracking_uri, "digits-vae")
    assert [(event.before, event.champion) for event in history.events] == [(None, None), (None, 2), (2, 3)]
    assert verify.verify(history).problems == ()


def test_a_first_version_that_can_be_compared_with_no_baseline_says_why(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    by_distance = RegistryConfig(decides_by="distance", canary=False)
    first = written("first", values, distance=-values, baseline=values + 9).register(tracking_uri, registry=by_distance)
    assert first.promoted
    assert first.reason.endswith(
        "; it was compared with no baseline: only the bound on log p(x) has a baseline, and distance decides"
    )
    store.connect(tracking_uri).delete_registered_model("digits-vae")
    again = written("second", values).register(tracking_uri, registry=RegistryConfig(canary=False))
    assert again.reason.endswith("; it was compared with no baseline: the evaluation has none")


def test_the_baseline_need_not_be_beaten_where_the_experiment_says_so(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    registry = RegistryConfig(canary=False, baseline=False)
    run = written("first", values, baseline=values + 9)
    assert run.register(tracking_uri, registry=registry).promoted
