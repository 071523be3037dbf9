"""One model, three backends: the same weights give the same bound, and each backend trains."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError
from tests.elboflow.vae.given import image

BACKENDS = ["tensorflow", "jax", "torch"]
SPECS = {
    **image((8, 8, 1), 17),
    "label": FeatureSpec(kind="category", dtype="int64", levels=10),
    "text": FeatureSpec(kind="tokens", dtype="int64", shape=(6,), levels=5, ragged=True),
    "price": FeatureSpec(kind="number", dtype="float32", facts={"mean": 3.0, "std": 2.0}),
}
MODELS = {
    **{kind: {"likelihood": kind} for kind in ("bernoulli", "gaussian", "categorical", "discretized_logistic")},
    "convolutional": {"encoder": "convolutional", "decoder": "convolutional"},
    "conditional": {"condition": "label", "prior": "conditional"},
    "table": {"input": ["price", "label"], "likelihood": "product"},
    "text": {"input": "text", "likelihood": "tokens", "encoder": "recurrent", "decoder": "recurrent"},
}

PROGRAM = Path(__file__).with_name("backend_process.py")


@pytest.fixture(scope="module")
def results(tmp_path_factory, tensorflow_backend) -> dict[str, dict]:
    """What each installed backend computes from the same weights, data and noise, each in a process of its own."""
    from sklearn.datasets import load_digits

    from elboflow.vae import keras_file
    from elboflow.vae.model import ModelConfig

    folder = tmp_path_factory.mktemp("backends")
    rng = np.random.default_rng(0)
    np.savez(
        folder / "given.npz",
        **{
            "image": load_digits().images[:16].astype(np.uint8)[..., None],
            "label": load_digits().target[:16],
            "text": rng.integers(0, 5, (16, 6)),
            "text.length": rng.integers(0, 7, 16),
            "price": rng.normal(3.0, 2.0, 16).astype(np.float32),
        },
    )
    for name, model in MODELS.items():
        config = ModelConfig.model_validate({"latent": 6, **model})
        built = config.build({feature: SPECS[feature] for feature in config.reads}, seed=2)
        (folder / f"{name}.keras").write_bytes(keras_file.write(built))
    found = {}
    for backend in (name for name in BACKENDS if importlib.util.find_spec(name)):
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        subprocess.run([sys.executable, str(PROGRAM), backend, str(folder)], check=True, env=environment)
        found[backend] = json.loads((folder / f"{backend}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_the_same_weights_give_the_same_bound_within_a_thousandth_of_a_nat(results, backend):
    if backend not in results:
        pytest.skip(f"{backend} is not installed")
    for name, terms in results["tensorflow"]["terms"].items():
        for mine, reference in zip(results[backend]["terms"][name], terms, strict=True):
            np.testing.assert_allclose(mine, reference, atol=1e-3, err_msg=f"{name} on {backend}")


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_trains(results, backend):
    if backend not in results:
        pytest.skip(f"{backend} is not installed")
    assert results[backend]["curve"][-1] > results[backend]["curve"][0] + 5


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
@pytest.mark.parametrize("backend", BACKENDS)
def test_micro_batches_give_the_weights_of_whole_batches_on_every_backend(results, backend):
    if backend not in results:
        pytest.skip(f"{backend} is not installed")
    whole, parts = results[backend]["micro_batches"]["1"], results[backend]["micro_batches"]["4"]
    np.testing.assert_allclose(whole["losses"], parts["losses"], rtol=1e-3)
    for one, other in zip(whole["weights"], parts["weights"], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
@pytest.mark.parametrize("backend", BACKENDS)
def test_muon_clipping_dropout_and_averaging_together_lower_the_loss_on_every_backend(results, backend):
    if backend not in results:
        pytest.skip(f"{backend} is not installed")
    losses = results[backend]["micro_batches"]["1"]["losses"]
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 1


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_overflow_in_float16_is_skipped_and_halves_the_scale_on_every_backend(results, backend):
    if backend not in results:
        pytest.skip(f"{backend} is not installed")
    found = results[backend]["float16"]
    assert found["first_skipped"] == 1
    assert found["unchanged"]
    assert 1 < found["skipped"] < 25
    assert found["scale"] == 2.0 ** (15 - found["skipped"])
    assert found["iterations"] == 25 - found["skipped"]


def test_a_backend_that_is_not_installed_is_refused_with_those_that_are(monkeypatch):
    from elboflow.vae import compute

    installed = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jax" else installed(name))
    with pytest.raises(RequestError, match=r"jax, which is not installed here.*choose one of: .*tensorflow"):
        compute.use("jax")
