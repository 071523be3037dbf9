"""Keras's global settings are ours in our processes: a user's file or environment changes none."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from elboflow.settings import RequestError
from elboflow.vae.families.flat import Flat
from elboflow.vae.networks import Network, Site
from tests.elboflow.vae.given import image

ROOT = Path(__file__).parents[3]
OTHERS = {"floatx": "float16", "epsilon": 0.01, "image_data_format": "channels_first", "backend": "torch"}
PROGRAM = """
import json, os, sys
from elboflow.vae import compute
from elboflow.vae.families.flat import Flat
from tests.elboflow.vae.given import image
backend, before = sys.argv[1], os.environ.get("KERAS_HOME")
if "--imported" in sys.argv:
    os.environ["KERAS_BACKEND"] = backend
    import keras
    assert keras.config.image_data_format() == "channels_first"
compute.use(backend)
assert os.environ.get("KERAS_HOME") == before
import keras
from elboflow.vae.model import variables
network = {"kind": "convolutional", "channels": [2], "dense": 4}
model = Flat.model_validate({"encoder": network, "decoder": network}).build(image((8, 6, 1), 17))
config = keras.config
print(json.dumps({
    "settings": [config.backend(), config.floatx(), config.epsilon(), config.image_data_format()],
    "policy": config.dtype_policy().name, "max": [config.max_epochs(), config.max_steps_per_epoch()],
    "outputs": model.decoder.output_shape, "types": sorted({variable.dtype for variable in variables(model)}),
}))
"""


def settings_of(backend: str, environment: dict[str, str], *arguments: str) -> dict[str, object]:
    """Returns the settings of a process that asks for a backend in this environment, and has no other."""
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    names = ("PATH", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE")
    clean = {name: os.environ[name] for name in names if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, backend, *arguments],
        env={**clean, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, encoding="utf-8", timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def ours(backend: str) -> dict[str, object]:
    return {
        "settings": [backend, "float32", 1e-7, "channels_last"],
        "policy": "float32",
        "max": [None, None],
        "outputs": [None, 8, 6, 1],
        "types": ["float32"],
    }


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_users_settings_are_not_read_and_stay_as_they_are(backend: str, tmp_path: Path) -> None:
    file = tmp_path / ".keras/keras.json"
    file.parent.mkdir()
    file.write_text(json.dumps(OTHERS), encoding="utf-8")
    assert settings_of(backend, {"HOME": str(tmp_path)}) == ours(backend)
    assert json.loads(file.read_text(encoding="utf-8")) == OTHERS


@pytest.mark.parametrize("home", ["given", "none"])
def test_no_settings_are_written_and_no_home_is_needed(home: str, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)} if home == "given" else {}
    more = {"KERAS_MAX_EPOCHS": "many", "KERAS_MAX_STEPS_PER_EPOCH": "1", "KERAS_NNX_ENABLED": "true"}
    assert settings_of("jax", {**environment, **more}) == ours("jax")
    assert not (tmp_path / ".keras").exists()


def test_settings_that_keras_would_refuse_are_no_matter(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"floatx": "int8"}', encoding="utf-8")
    assert settings_of("jax", {"KERAS_HOME": str(tmp_path)}) == ours("jax")


def test_settings_of_a_process_that_had_keras_already_are_changed(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text(json.dumps(OTHERS), encoding="utf-8")
    assert settings_of("jax", {"KERAS_HOME": str(tmp_path)}, "--imported") == ours("jax")


@pytest.mark.xdist_group("tensorflow")
@pytest.mark.usefixtures("tensorflow_backend")
@pytest.mark.parametrize(("network", "shape"), [("encoder", (5,)), ("decoder", (1, 8, 6))])
def test_a_network_whose_outputs_have_another_shape_is_no_model(network: str, shape: tuple[int, ...]) -> None:
    told = {
        "encoder": r"model\.encoder makes outputs of shape \[5\] for each example; a latent of 4 needs \[8\]",
        "decoder": r"model\.decoder makes outputs of shape \[1, 8, 6\] .*; image of shape \[8, 6, 1\] needs \[8",
    }
    with pytest.raises(RequestError, match=told[network]):
        Flat(latent=4, **{network: Other(shape=shape)}).build(image((8, 6, 1), 17))


class Other(Network):
    """A network of another package, whose outputs have a shape of its own."""

    kind: Literal["other"] = "other"
    shape: tuple[int, ...]

    def encoder(self, site: Site) -> Any:
        import keras

        units = int(np.prod(self.shape))
        layers = [keras.layers.Flatten(), keras.layers.Dense(units), keras.layers.Reshape(self.shape)]
        return keras.Sequential([keras.Input(site.inputs), *layers])

    def decoder(self, site: Site) -> Any:
        return self.encoder(site)
