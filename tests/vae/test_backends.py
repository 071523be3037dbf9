"""One model, three backends: the same weights give the same bound, and each backend trains."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from settings import RequestError

BACKENDS = ["tensorflow", "jax", "torch"]

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from vae import backends
backend, folder = sys.argv[1], Path(sys.argv[2])
backends.use(backend)
from vae.backends import compiled
from vae.config import Constant, MLP, ModelConfig, TrainingConfig
from vae.data import Examples, ImageSpec
from vae.model import VAE, load
from vae.training import train
from keras import ops

def terms(model):
    def function(codes, uniform, noise):
        terms = model.terms(model.prepare(codes, uniform), noise)
        return terms.log_likelihood, terms.log_prior, terms.log_posterior, terms.kl
    return [part.tolist() for part in compiled(model, function)(given["codes"], given["uniform"], given["noise"])]

given = np.load(folder / "given.npz")
result = {path.stem: terms(load(path)) for path in sorted(folder.glob("*.keras"))}
codes = given["codes"]
split = Examples(codes, np.arange(len(codes)))
rate = Constant(initial=3e-3)
seed = 2**31 - 1  # the largest
training = TrainingConfig(backend=backend, epochs=30, batch_size=4, learning_rate=rate, early_stopping=None)
model = ModelConfig(latent=3, encoder=MLP(hidden=[16]), decoder=MLP(hidden=[16]))
curves = train(split, split, ImageSpec((8, 8, 1), 17), model, training, seed, folder / f"{backend}.npz", {}).curves
result["curve"] = curves.validation["elbo"]
(folder / f"{backend}.json").write_text(json.dumps(result))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory, tensorflow_backend) -> dict[str, dict]:
    """What each installed backend computes from the same weights, data and noise, each in a process of its own."""
    from sklearn.datasets import load_digits

    from vae.config import ModelConfig
    from vae.data import ImageSpec
    from vae.model import VAE

    folder = tmp_path_factory.mktemp("backends")
    rng = np.random.default_rng(0)
    codes = load_digits().images[:16].astype(np.uint8)[..., None]
    np.savez(
        folder / "given.npz",
        codes=codes,
        uniform=rng.random(codes.shape, dtype=np.float32),
        noise=rng.standard_normal((2, len(codes), 6), dtype=np.float32),
    )
    likelihoods = ("bernoulli", "gaussian", "categorical", "discretized_logistic")
    for network, likelihood in [*(("mlp", likelihood) for likelihood in likelihoods), ("convolutional", "bernoulli")]:
        config = ModelConfig(latent=6, encoder=network, decoder=network, likelihood=likelihood)
        VAE(config, ImageSpec((8, 8, 1), 17), seed=2).save(folder / f"{network}-{likelihood}.keras")
    found = {}
    for backend in (name for name in BACKENDS if importlib.util.find_spec(name)):
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        subprocess.run([sys.executable, "-c", PROGRAM, backend, str(folder)], check=True, env=environment)
        found[backend] = json.loads((folder / f"{backend}.json").read_text())
    return found


@pytest.mark.xdist_group("tensorflow")
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_the_same_weights_give_the_same_bound_within_a_thousandth_of_a_nat(results, backend):
    if backend not in results:
        pytest.skip(f"{backend} is not installed")
    for name in results["tensorflow"].keys() - {"curve"}:
        for mine, reference in zip(results[backend][name], results["tensorflow"][name], strict=True):
            np.testing.assert_allclose(mine, reference, atol=1e-3, err_msg=f"{name} on {backend}")


@pytest.mark.xdist_group("tensorflow")
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_trains(results, backend):
    if backend not in results:
        pytest.skip(f"{backend} is not installed")
    assert results[backend]["curve"][-1] > results[backend]["curve"][0] + 5


def test_a_backend_that_is_not_installed_is_refused_with_those_that_are(monkeypatch):
    from vae import backends

    installed = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jax" else installed(name))
    with pytest.raises(RequestError, match=r"jax, which is not installed here.*choose one of: .*tensorflow"):
        backends.use("jax")
