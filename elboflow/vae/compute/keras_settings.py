"""Keras's global settings: this program sets all of them, and ignores `keras.json`.

At import, Keras reads `keras.json` in `~/.keras` or `KERAS_HOME` and some environment variables, and creates the file
if it is missing. A user's image layout or precision from there would silently train another model.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HOME = "KERAS_HOME"
_VARIABLES = (_HOME, "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED")
_NOWHERE = str(Path(os.devnull, "keras"))  # cannot exist, because it lies in a file


@contextmanager
def unread() -> Iterator[None]:
    """The context for the import of Keras: Keras reads and writes no settings file, and needs no home folder."""
    before = {name: os.environ.pop(name, None) for name in _VARIABLES}
    os.environ[_HOME] = _NOWHERE
    try:
        yield
    finally:
        del os.environ[_HOME]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def settle() -> None:
    """Sets Keras's global settings, in case other code of this process has changed or loaded them before."""
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
