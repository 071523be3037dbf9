"""Interrupts that are handled already: another one would interrupt the tidying up."""

import sys


def is_handled(kind: type[BaseException] = KeyboardInterrupt) -> bool:
    """Returns whether this thread is in an `except`, a `finally` or an `__exit__` that an exception of a kind led to.

    False also after an interrupt that was lost: in a destructor, or in a library that catches everything. Such a one
    has to be raised by the next signal.
    """
    error = sys.exception()
    while error is not None and not isinstance(error, kind):
        error = error.__context__
    return error is not None
