"""What `elboflow.vae.shapes` says without Keras is what Keras builds and writes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from elboflow.settings import WorkError
from elboflow.vae import keras_file, shapes
from elboflow.vae.config import ModelConfig
from elboflow.vae.data import ImageSpec

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

MLP = st.fixed_dictionaries({"kind": st.just("mlp"), "hidden": st.lists(st.integers(1, 5), max_size=3)})
CONVOLUTIONAL = st.fixed_dictionaries(
    {
        "kind": st.just("convolutional"),
        "channels": st.lists(st.integers(1, 4), min_size=1, max_size=3),
        "kernel": st.integers(1, 4),
        "dense": st.integers(1, 5),
    }
)
LIKELIHOODS = ["bernoulli", "categorical", "discretized_logistic", "gaussian", {"kind": "gaussian", "scale": 0.5}]
MODELS = st.fixed_dictionaries(
    {
        "latent": st.integers(1, 4),
        "encoder": MLP | CONVOLUTIONAL,
        "decoder": MLP | CONVOLUTIONAL,
        "likelihood": st.sampled_from(LIKELIHOODS),
    }
)


@given(model=MODELS, shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)), levels=st.integers(2, 5))
@hypothesis_settings(max_examples=25, deadline=None)
def test_a_model_has_the_weights_that_its_settings_say(model: dict, shape: tuple[int, int, int], levels: int) -> None:
    from elboflow.vae.model import VAE

    config, spec = ModelConfig.model_validate(model), ImageSpec(shape, levels)
    built = [tuple(weight.shape) for weight in VAE(config, spec).weights]
    assert list(shapes.weights(config, spec).values()) == built


@pytest.mark.parametrize("network", ["mlp", {"kind": "convolutional", "channels": [2, 3, 2], "dense": 4}])
def test_a_saved_model_has_them_at_these_places_and_is_read_from_there(network: object, tmp_path) -> None:
    from elboflow.vae.model import VAE, load

    config = ModelConfig.model_validate({"latent": 3, "encoder": network, "decoder": network})
    spec = ImageSpec((8, 7, 2), 17)
    model = VAE(config, spec, seed=3)
    (tmp_path / "model.keras").write_bytes(keras_file.write(model))
    read = keras_file.weights(tmp_path / "model.keras", config, spec)
    assert {place: array.shape for place, array in read.items()} == shapes.weights(config, spec)
    loaded = load(tmp_path / "model.keras")
    assert loaded.config == config
    assert loaded.spec == spec
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(np.array(ours), np.array(theirs))


@pytest.mark.parametrize(
    "changed", [{"config": {"tomorrows": 1}}, {"spec": {"shape": [4, 4]}}, {"config": None}, {"spec": None}]
)
def test_a_configuration_of_another_version_is_one_sentence(changed: dict) -> None:
    from elboflow.vae.model import VAE

    config = VAE(ModelConfig(latent=2), ImageSpec((4, 4, 1), 2)).get_config()
    (name,) = changed
    with pytest.raises(WorkError, match=f"the configuration of a VAE is damaged: {name}.*another version"):
        VAE.from_config({**config, **changed})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_with_a_weight_that_is_not_finite_is_not_saved(value: float) -> None:
    from elboflow.vae.model import VAE

    model = VAE(ModelConfig(latent=2), ImageSpec((4, 4, 1), 2), seed=1)
    bias = model.decoder.layers[-2].bias
    bias.assign(np.where(np.arange(16) == 3, value, 0.0))
    with pytest.raises(WorkError, match="is not saved: its weight decoder/layers/dense_2/vars/1 is not finite"):
        keras_file.write(model)


def test_keras_reads_the_file_as_well(tmp_path) -> None:
    import keras

    from elboflow.vae.model import VAE

    model = VAE(ModelConfig(latent=2), ImageSpec((4, 4, 1), 2), seed=1)
    (tmp_path / "model.keras").write_bytes(keras_file.write(model))
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(np.array(ours), np.array(theirs))
