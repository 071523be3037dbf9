"""What a sweep varies: read from the command line, and checked before anything starts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from elboflow.settings import RequestError
from pipelines.cli import app
from pipelines.experiment import load
from pipelines.sweeps import axes, candidates

DIGITS = load("digits")
SCALARS = st.none() | st.booleans() | st.integers(-1000, 1000) | st.text("abc ,[]{}'\"x:#", max_size=8)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text("ab", min_size=1), SCALARS, max_size=2)


def grid(*over: str) -> list[dict[str, Any]]:
    return axes.grid(axes.parse(over, DIGITS))


def refusal(*over: str) -> str:
    with pytest.raises(RequestError) as refused:
        candidates.check(DIGITS.recorded(), grid(*over))
    return str(refused.value)


def test_a_grid_is_every_combination_the_last_key_fastest():
    assert grid("model.latent=2,8", "seed=0,1") == [
        {"model.latent": latent, "seed": seed} for latent in (2, 8) for seed in (0, 1)
    ]


def test_the_seed_of_the_trainings_is_the_experiment_s():
    assert grid("training.seed=0,1") == [{"seed": 0}, {"seed": 1}]


def test_values_are_yaml_and_commas_inside_brackets_belong_to_them():
    (axis,) = axes.parse(["model.encoder.hidden=[64],[64, 32]"], DIGITS)
    assert axis.values == ([64], [64, 32])
    (axis,) = axes.parse(["model.objective=elbo,{kind: beta, beta: 2e0},'elbo, of a kind'"], DIGITS)
    assert axis.values == ("elbo", {"kind": "beta", "beta": 2.0}, "elbo, of a kind")


def test_a_kind_that_varies_has_defaults_of_its_own_and_keeps_what_the_experiment_says():
    over = grid("training.optimizer.kind=adam,lion", "training.learning_rate.kind=cosine,exponential")
    tried = [each.experiment["training"] for each in candidates.check(DIGITS.recorded(), over)]
    assert [each["optimizer"]["kind"] for each in tried] == ["adam", "adam", "lion", "lion"]
    assert "epsilon" not in tried[2]["optimizer"]
    assert [each["learning_rate"]["kind"] for each in tried[:2]] == ["cosine", "exponential"]
    assert {(each["learning_rate"]["initial"], each["learning_rate"]["warmup_steps"]) for each in tried} == {
        (0.002, 100)
    }


@given(st.lists(VALUES, min_size=1, max_size=4, unique_by=lambda value: json.dumps(value).lower()))
def test_values_that_are_written_as_json_are_read_as_they_were(values: list[Any]):
    (axis,) = axes.parse(["model.objective=" + ",".join(map(json.dumps, values))], DIGITS)
    assert axis.values == tuple(values)


def test_a_candidate_is_the_experiment_with_its_values():
    first, second = candidates.check(DIGITS.recorded(), grid("model.encoder.hidden=[64],[64, 32]"))
    assert second.model.encoder.hidden == [64, 32]
    assert second.model.decoder == DIGITS.model.decoder
    assert first.digest != second.digest
    assert str(second) == "model.encoder.hidden=[64, 32]"


@pytest.mark.parametrize(
    ("over", "said"),
    [
        (["model.laten=2,3"], "model.laten: unknown key; did you mean 'latent'?"),
        (["latent=2,3"], "latent: unknown key; did you mean 'model.latent'?"),
        (["model.latent=2,0"], "--over model.latent=0: model.latent: 0 is not allowed; must be greater than 0"),
        (["training.learning_rate.initial.x=1,2"], "training.learning_rate.initial is 0.002, which has no keys"),
        (["data.splits.test=0.1,0.2"], "data is the same for all trials"),
        (["evaluation.bound_samples=1,2"], "evaluation is the same for all trials"),
        (["model.latent"], "expected KEY=VALUE,VALUE,…"),
        (["model.latent=2,,3"], "expected values with commas between them"),
        (["model.latent=2],[3"], "expected values with commas between them"),
        (["model.latent=2,2"], "2 is given twice"),
        (["model.latent=[2"], "expected values with commas between them"),
        (["model.latent=2,3", "model.latent=4"], "model.latent varies already"),
        (["model={latent: 3}", "model.latent=4,5"], "model varies already"),
        (["seed=0", "training.seed=1"], "seed varies already"),
        (["model.latent=2..64"], "a range is searched with --search tpe"),
        (["model.likelihood=bernoulli,gaussian"], "cannot be compared: one is of the bits (dynamic binarisation)"),
        (["model.encoder=mlp,{kind: mlp, hidden: [256, 256]}"], "are the same trial"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(over: list[str], said: str):
    assert said in refusal(*over)


def test_keys_of_which_one_name_begins_like_the_other_may_both_vary():
    assert len(grid("training.epochs=1,2", "training.early_stopping=null")) == 2


def test_ranges_are_whole_or_real_and_may_be_searched_by_magnitude():
    over = ["model.latent=2..64", "training.learning_rate.initial=1e-4..1e-2:log", "training.gradient_clip=1..5.5"]
    latent, rate, clip = axes.parse(over, DIGITS)
    assert isinstance(latent, axes.Range)
    assert isinstance(rate, axes.Range)
    assert isinstance(clip, axes.Range)
    assert (latent.low, latent.high, latent.whole, latent.log) == (2, 64, True, False)
    assert (rate.low, rate.high, rate.whole, rate.log) == (1e-4, 1e-2, False, True)
    assert (clip.low, clip.high, clip.whole) == (1, 5.5, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8..2", "the range ends at 2, which is not above 8"),
        ("0..5:log", "a range by magnitude starts above 0"),
        ("a..b", "with two numbers"),
        ("true..5", "with two numbers"),
    ],
)
def test_impossible_ranges_are_refused(text: str, said: str):
    with pytest.raises(RequestError, match=said):
        axes.parse([f"model.latent={text}"], DIGITS)


def test_a_search_is_checked_at_every_value_and_at_both_ends_of_every_range():
    varied = axes.parse(["model.latent=0..64", "training.backend=tensorflow,jax,torch"], DIGITS)
    assert list(axes.corners(varied)) == [
        {"model.latent": 0, "training.backend": "tensorflow"},
        {"model.latent": 64, "training.backend": "jax"},
        {"model.latent": 64, "training.backend": "torch"},
    ]
    with pytest.raises(RequestError, match=r"model\.latent: 0 is not allowed"):
        candidates.check(DIGITS.recorded(), axes.corners(varied))


def sweep(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["sweep", "digits", *arguments])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--over", "model.latent=2,3", "--search", "grid"], "--search grid: unknown; allowed: tpe, random"),
        (["--over", "model.latent=2,3", "--trials", "3"], "--trials: a grid tries every combination"),
        (["--over", "model.latent=2,3", "--no-prune"], "--prune: a grid tries every combination"),
        (["--over", "model.latent=2,3", "--target", "mars"], "--target mars: unknown target"),
        (["--over", "model.latent=2,3", "--no-wait"], "--no-wait: a sweep on this machine"),
        (["--over", "model.latent=2,3", "--target", "kubeflow", "--search", "tpe"], "targets that search: local"),
        (
            ["--over", "model.latent=2,3", "--target", "vertex", "--search", "tpe", "--prune"],
            "searches that prune: local",
        ),
        (["--over", "model.latent=2,3", "--target", "vertex"], "targets.vertex: missing"),
        (["--over", "model.latent=2,-3"], "model.latent: -3 is not allowed"),
    ],
)
def test_a_wrong_command_starts_nothing(arguments: list[str], said: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = sweep(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
