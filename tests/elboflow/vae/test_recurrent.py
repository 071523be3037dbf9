"""Recurrent networks: a decoder sees what stands before a position and no more, whether it is taught or decodes."""

import numpy as np
import pytest

from elboflow.artifacts.spec import FeatureSpec
from elboflow.vae.config import Constant, TrainingConfig
from elboflow.vae.data import Examples, InMemory
from elboflow.vae.families.flat import Flat

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

SYMBOLS, LONGEST = 5, 7
TEXT = {"text": FeatureSpec(kind="tokens", dtype="int64", shape=(LONGEST,), levels=SYMBOLS, ragged=True)}


def config(**settings):
    return Flat.model_validate(
        {
            "input": "text",
            "likelihood": "tokens",
            "latent": 3,
            "encoder": {"kind": "recurrent", "units": 16},
            "decoder": {"kind": "recurrent", "units": 16},
            **settings,
        }
    )


@pytest.fixture(scope="module")
def model(tensorflow_backend):
    """A model that is sure of what it says."""
    made = config().build(TEXT, seed=1)
    output = made.decoder.get_layer("output")
    output.kernel.assign(6.0 * np.array(output.kernel))
    return made


def texts(rows, seed=0):
    rng = np.random.default_rng(seed)
    return {"text": rng.integers(0, SYMBOLS, (rows, LONGEST)), "text.length": np.full(rows, LONGEST)}


def outputs(model, z, batch):
    """What the decoder makes of z and of the symbols before each position, `[rows, longest, symbols + 1]`."""
    from keras.ops import convert_to_tensor

    previous = model.likelihood.previous(model.likelihood.prepare(batch, None))
    return np.array(model.decoder([convert_to_tensor(z), previous]))


@pytest.mark.parametrize("position", range(LONGEST))
def test_what_a_decoder_says_of_a_position_depends_on_what_stands_before_it_alone(model, position):
    batch, other = texts(20), texts(20)
    other["text"][:, position:] = (other["text"][:, position:] + 1) % SYMBOLS
    z = np.random.default_rng(2).normal(size=(20, 3)).astype("float32")
    one, two = outputs(model, z, batch), outputs(model, z, other)
    np.testing.assert_array_equal(one[:, : position + 1], two[:, : position + 1])
    if position + 1 < LONGEST:
        assert (one[:, position + 1] != two[:, position + 1]).any(axis=-1).all()


def test_every_position_depends_on_z(model):
    z, other = (np.full((1, 3), value, "float32") for value in (0.0, 1.0))
    assert (outputs(model, z, texts(1)) != outputs(model, other, texts(1))).any(axis=-1).all()


def test_what_is_decoded_is_the_most_probable_symbol_after_what_was_decoded_before(model):
    z = np.random.default_rng(3).normal(0, 2, (200, 3)).astype("float32")
    decoded = {name: np.array(values) for name, values in model.decode((z,), {}, {}).items()}
    codes, lengths = decoded["text"], decoded["text.length"]
    assert len(np.unique(lengths)) > 1, "some end early"
    assert len(np.unique(codes, axis=0)) > 3
    likeliest = outputs(model, z, decoded).argmax(axis=-1)
    for row, taught, length in zip(codes, likeliest, lengths, strict=True):
        np.testing.assert_array_equal(row[:length], taught[:length])
        assert length == LONGEST or taught[length] == SYMBOLS
        assert not row[length:].any()


def test_an_encoder_reads_up_to_the_end_of_a_sequence_and_no_further(model):
    batch, other = texts(10), texts(10)
    batch["text.length"] = other["text.length"] = np.arange(10) % (LONGEST + 1)
    beyond = np.arange(LONGEST) >= batch["text.length"][:, None]
    other["text"][beyond] = (other["text"][beyond] + 1) % SYMBOLS
    one, two = (np.array(model.encode(found, {})[0]) for found in (batch, other))
    np.testing.assert_array_equal(one, two)
    other["text"][~beyond] = (other["text"][~beyond] + 1) % SYMBOLS
    three = np.array(model.encode(other, {})[0])
    assert (one != three).any(axis=1)[batch["text.length"] > 0].all()


@pytest.mark.slow
def test_a_model_of_texts_learns_them(tmp_path):
    from elboflow.vae.compute.contract import Job
    from elboflow.vae.evaluation import samples
    from elboflow.vae.training import train

    words = np.array([[0, 1, 2, 3, 0, 0, 0], [4, 4, 4, 4, 4, 4, 4], [3, 0, 0, 0, 0, 0, 0], [2, 1, 0, 0, 0, 0, 0]])
    lengths = np.array([4, 7, 1, 3])
    rows = np.arange(256) % 4
    examples = Examples({"text": words[rows], "text.length": lengths[rows]}, np.arange(256))
    training = TrainingConfig(epochs=70, batch_size=64, learning_rate=Constant(initial=2e-2), early_stopping=None)
    source = InMemory(examples)
    told_by_z = config(objective={"kind": "beta", "beta": 0.1})  # else the decoder knows all words without it
    trained = train(Job(source, source, TEXT, told_by_z, training, 0, tmp_path, {}))
    assert trained.curves.validation["reconstruction"][-1] > -0.3  # log 4 is 1.4: there are four words
    again = samples.reconstruct(trained.model, examples.head(4), seed=0)
    np.testing.assert_array_equal(again["text.length"], lengths)
    np.testing.assert_array_equal(again["text"], words)


@pytest.mark.slow
def test_micro_batches_give_the_weights_of_whole_batches():
    from tests.elboflow.vae.given import weights
    from tests.elboflow.vae.stepping import stepping

    batch = texts(16)
    batch["text.length"] = np.arange(16) % (LONGEST + 1)
    examples = Examples(batch, np.arange(16))
    whole, parts = (stepping(config(), TrainingConfig(micro_batches=count), examples, TEXT) for count in (1, 4))
    np.testing.assert_allclose(whole.run(0, 5)["loss"], parts.run(0, 5)["loss"], rtol=1e-4)
    for one, other in zip(weights(whole.model), weights(parts.model), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
