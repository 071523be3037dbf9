"""Shared by all tests. Frameworks take seconds to import: tests import them inside, in one worker."""

import logging
import signal

import pytest

# A process that a shell starts in the background ignores SIGINT, and so do its children; tests send them Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tensorflow_backend() -> None:
    """Keras on TensorFlow, in this process. Tests that ask for it belong to the xdist group `tensorflow`."""
    from elboflow.vae import compute

    compute.use("tensorflow")
    assert compute.current() == "tensorflow"
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
