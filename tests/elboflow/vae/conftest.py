"""Small images to train on, and a model of them."""

import numpy as np
import pytest

from elboflow.vae.data import Examples, ImageSpec


@pytest.fixture(scope="session")
def digits() -> Examples:
    """The 1,797 digits of scikit-learn, 8×8 with 17 levels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return Examples(data.images.astype(np.uint8)[..., None], np.arange(len(data.images)), data.target)


@pytest.fixture(scope="session")
def digits_spec() -> ImageSpec:
    return ImageSpec((8, 8, 1), 17)
