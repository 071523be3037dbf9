"""Keras's global settings: this program's processes set all of them, and read no `keras.json`.

Keras reads `~/.keras/keras.json`, or that in `KERAS_HOME`, and some variables once, when it is imported, and writes the
file where there is none. A user's layout or precision from there would silently train another model.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_HOME = "KERAS_HOME"
_VARIABLES = (_HOME, "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED")
_NOWHERE = os.path.join(os.devnull, "keras")  # noqa: PTH118 - a folder that cannot be


@contextmanager
def unread() -> Iterator[None]:
    """Surrounds the import of Keras: it finds no file of settings, writes none, and needs no home folder."""
    before = {name: os.environ.pop(name, None) for name in _VARIABLES}
    os.environ[_HOME] = _NOWHERE
    try:
        yield
    finally:
        del os.environ[_HOME]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def settle() -> None:
    """Sets what another part of this process may have set, or had Keras read, before."""
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
