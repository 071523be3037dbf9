"""`keras.ops`, imported when the first operation is asked for.

A file of this room that holds the settings of a kind beside what the kind computes can then be read by a command line,
which imports no framework.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    from keras import ops

    return getattr(ops, name)
