"""What is said of a model's file without its weights is what Keras builds and writes, for every kind of model."""

import io
import zipfile

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import WorkError
from elboflow.vae import keras_file
from elboflow.vae.families.flat import Flat
from elboflow.vae.model import ModelConfig, variables
from tests.elboflow.vae.given import image, read, weights

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
SPECS = {
    **image((8, 7, 2), 17),
    "label": FeatureSpec(kind="category", dtype="int64", levels=10),
    "text": FeatureSpec(kind="tokens", dtype="int64", shape=(6,), levels=5, ragged=True),
    "price": FeatureSpec(kind="number", dtype="float32", facts={"mean": 3.0, "std": 2.0}),
}
CONVOLUTIONS = {"kind": "convolutional", "channels": [2, 3, 2], "dense": 4, "dropout": 0.1}
EVERY = {
    "dense": {"encoder": {"kind": "mlp", "hidden": [4, 3], "dropout": 0.2}},
    "convolutions": {"encoder": CONVOLUTIONS, "decoder": CONVOLUTIONS, "likelihood": "gaussian"},
    "a condition": {"condition": "label", "prior": "conditional", "encoder": CONVOLUTIONS},
    "a table": {"input": ["price", "label"], "likelihood": "product"},
    "numbers": {"input": "price", "likelihood": "normal"},
    "classes": {"input": "label", "likelihood": "category", "condition": "price"},
    "text": {"input": "text", "likelihood": "tokens", "encoder": "recurrent", "decoder": "recurrent"},
    "text at once": {"input": "text", "likelihood": "tokens"},
}


def config_of(name: str) -> ModelConfig:
    return ModelConfig.parse({"latent": 3, **EVERY[name]})


def written(model) -> dict[str, tuple[int, ...]]:
    """The shape of each array that Keras writes, by its place."""
    with zipfile.ZipFile(io.BytesIO(keras_file.write(model))) as archive:
        content = archive.read(keras_file.WEIGHTS)
    found = {}
    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(lambda place, thing: found.update({place: thing.shape}) if hasattr(thing, "shape") else None)
    return found


@given(model=MODELS, shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)), levels=st.integers(2, 5))
@hypothesis_settings(max_examples=15, deadline=None)
def test_a_model_has_the_weights_that_its_settings_say(model: dict, shape: tuple[int, int, int], levels: int) -> None:
    from elboflow.vae.container import places

    config, specs = Flat.model_validate(model), image(shape, levels)
    built = config.build(specs)
    found = places(config, specs)
    assert found == written(built)
    assert sorted(found.values()) == sorted(tuple(variable.shape) for variable in variables(built))


@pytest.mark.parametrize("name", EVERY)
def test_a_saved_model_has_them_at_these_places_and_is_read_from_there(name: str, tmp_path) -> None:
    from elboflow.vae.container import places

    config = config_of(name)
    specs = {feature: SPECS[feature] for feature in config.reads}
    model = config.build(specs, seed=3)
    assert places(config, specs) == written(model)
    (tmp_path / "model.keras").write_bytes(keras_file.write(model))
    found = keras_file.weights(tmp_path / "model.keras", config, specs)
    assert {place: array.shape for place, array in found.items()} == places(config, specs)
    loaded = read(tmp_path / "model.keras")
    assert loaded.config == config
    assert loaded.specs == specs
    for ours, theirs in zip(weights(model), weights(loaded), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_where_the_weights_of_a_model_lie_takes_no_memory() -> None:
    from elboflow.vae.container import places

    wide = Flat.model_validate({"encoder": {"kind": "mlp", "hidden": [2**20, 2**20]}})  # 4 TB of weights
    assert places(wide, image((4, 4, 1), 2))["encoder/layers/dense_1/vars/0"] == (2**20, 2**20)


@pytest.mark.parametrize(
    "changed",
    [
        {"config": {"tomorrows": 1}},
        {"features": {"image": {"shape": [4, 4]}}},
        {"config": None},
        {"features": None},
        {"config": {"kind": "tomorrows"}},
    ],
)
def test_a_configuration_of_another_version_is_one_sentence(changed: dict) -> None:
    from elboflow.vae.container import contained

    config = contained(Flat(latent=2).build(image((4, 4, 1), 2))).get_config()
    assert keras_file.facts(config, "the file") == (Flat(latent=2), image((4, 4, 1), 2))
    (name,) = changed
    with pytest.raises(WorkError, match=f"^the file (is damaged|cannot be used): {name}.*another version"):
        keras_file.facts({**config, **changed}, "the file")


def test_a_configuration_that_knows_images_alone_is_read() -> None:
    older = {"config": Flat(latent=2).model_dump(mode="json"), "spec": {"shape": [4, 4, 1], "levels": 2}}
    assert keras_file.facts(older, "the file") == (Flat(latent=2), image((4, 4, 1), 2))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_with_a_weight_that_is_not_finite_is_not_saved(value: float) -> None:
    model = Flat(latent=2).build(image((4, 4, 1), 2), seed=1)
    bias = model.decoder.get_layer("output").bias
    bias.assign(np.where(np.arange(16) == 3, value, 0.0))
    with pytest.raises(WorkError, match="is not saved: its weight decoder/layers/dense_2/vars/1 is not finite"):
        keras_file.write(model)


@pytest.mark.parametrize("name", EVERY)
def test_keras_reads_the_file_as_well(name: str, tmp_path) -> None:
    """Into the parts of such a model: what makes a model of settings is this program's to say."""
    import keras

    from elboflow.vae.container import contained

    config = config_of(name)
    specs = {feature: SPECS[feature] for feature in config.reads}
    model, other = config.build(specs, seed=1), config.build(specs, seed=2)
    (tmp_path / "model.keras").write_bytes(keras_file.write(model))
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        archive.extract(keras_file.WEIGHTS, tmp_path)
    keras.saving.load_weights(contained(other), tmp_path / keras_file.WEIGHTS)
    for ours, theirs in zip(weights(model), weights(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)
