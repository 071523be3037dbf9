"""Small images to train on, and what is known of them."""

import numpy as np
import pytest

from elboflow.vae.data import Examples
from elboflow.vae.terms import Specs
from tests.elboflow.vae.given import image


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
