"""Small images to train on, a model of them, and the framework of most tests."""

import logging

import numpy as np
import pytest

from elboflow.vae.data import Examples
from elboflow.vae.terms import Specs
from tests.elboflow.vae.given import image


@pytest.fixture(scope="session")
def tensorflow_backend() -> None:
    """Keras on TensorFlow, in this process. Tests that ask for it belong to the xdist group `tensorflow`."""
    from elboflow.vae import compute

    compute.use("tensorflow")
    assert compute.current() == "tensorflow"
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@pytest.fixture(scope="session")
def digits() -> Examples:
    """The 1,797 digits of scikit-learn, 8×8 with 17 levels, and their classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    codes = data.images.astype(np.uint8)[..., None]
    return Examples({"image": codes, "label": data.target}, np.arange(len(codes)))


@pytest.fixture(scope="session")
def digits_specs() -> Specs:
    return image((8, 8, 1), 17)
