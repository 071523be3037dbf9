"""`keras.ops`, imported at the first use of an operation.

A module can then define the settings of a kind and its computation, and a command line can import the module without
importing a framework.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    from keras import ops

    return getattr(ops, name)
