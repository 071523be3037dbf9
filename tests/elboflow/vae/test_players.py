"""Models that other families may be, on every backend: state that no gradient changes, and several players."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import packages

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("players_process.py")
MODELS = ["averaged", "duel"]
TERMS = {"reconstruction", "kl", "elbo", "distance", "loss", "gradient_norm", "skipped"}
NAMES = {
    "averaged": TERMS,
    "duel": {f"vae_{name}" for name in TERMS}
    | {f"critic_{name}" for name in ("error", "loss", "gradient_norm", "skipped")},
}

pytestmark = [pytest.mark.xdist_group("players"), pytest.mark.slow]  # its fixture is dear


@pytest.fixture(scope="module", params=["tensorflow", "jax", "torch"])
def backend(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture(scope="module")
def found(backend, tmp_path_factory):
    """What the backend makes of them, in a process of its own."""
    folder = tmp_path_factory.mktemp(backend)
    kinds = {"averaged": "AveragedConfig", "duel": "DuelConfig"}
    points = {name: f"tests.elboflow.vae.players:{kind}" for name, kind in kinds.items()}
    packages.install(folder / "site", "players", {}, {"elboflow.models": points})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder / "site")])}
    subprocess.run([sys.executable, str(PROGRAM), backend, str(folder)], check=True, env=environment)
    return json.loads((folder / f"{backend}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("model", MODELS)
def test_every_player_has_its_measures_by_name(found, model):
    measures = found[model]["at once"]["measures"]
    assert measures.keys() == NAMES[model]
    assert {len(values) for values in measures.values()} == {6}
    assert all(np.isfinite(values).all() for values in measures.values())


@pytest.mark.parametrize("model", MODELS)
def test_several_steps_in_a_call_do_what_one_at_a_time_does(found, model):
    assert found[model]["at once"] == found[model]["one by one"]
    assert set(found[model]["at once"]["iterations"]) == {6}


@pytest.mark.parametrize("model", MODELS)
def test_micro_batches_give_the_weights_and_the_state_of_whole_batches(found, model):
    whole, parts = found[model]["at once"], found[model]["in parts"]
    np.testing.assert_allclose(parts["average"], whole["average"], rtol=1e-4, atol=1e-6)
    for one, other in zip(parts["weights"], whole["weights"], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    for name, values in whole["measures"].items():
        np.testing.assert_allclose(parts["measures"][name], values, rtol=1e-3, err_msg=name)


@pytest.mark.parametrize("model", MODELS)
def test_what_a_loss_assigns_is_what_a_step_leaves(found, model):
    first = found[model]["first average"]
    assert np.abs(first["expected"]).max() > 1e-3
    np.testing.assert_allclose(first["found"], first["expected"], rtol=1e-4, atol=1e-6)
    assert np.abs(found[model]["at once"]["average"]).max() > 1e-3


def test_a_player_changes_its_own_variables_alone(found):
    """The VAE of the duel follows another loss than that of the first model; both begin with the same weights."""
    loss = {name: found[name]["at once"]["measures"] for name in MODELS}
    assert loss["duel"]["vae_elbo"][0] == pytest.approx(loss["averaged"]["elbo"][0], rel=1e-5)
    assert loss["duel"]["vae_elbo"][5] != loss["averaged"]["elbo"][5]
    errors = loss["duel"]["critic_error"]
    assert errors[-1] < errors[0]


@pytest.mark.parametrize("model", MODELS)
def test_state_and_players_survive_a_checkpoint(found, model):
    whole, again = found[model]["resumed"]["whole"], found[model]["resumed"]["again"]
    assert whole["curves"]["train"]["step"] == [4, 8, 12, 16]
    assert again == whole


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_evaluated_however_many_players_trained_it(found, model):
    evaluated = found[model]["resumed"]["evaluated"]
    assert evaluated["metrics"]["elbo"] <= evaluated["metrics"]["log_likelihood"]
    assert {"curves", "kl_by_unit", "latent_map", "samples"} <= set(evaluated["figures"])


def test_two_models_that_are_asked_in_turn_are_compiled_once_each(found, backend):
    if backend == "torch":
        pytest.skip("PyTorch runs bounds as they are, without compiling")
    assert found["traces"] == [1, 2, 2, 2, 2, 2]
