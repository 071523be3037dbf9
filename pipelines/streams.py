"""Standard output and error, whatever the encoding of the terminal."""

import sys
from typing import TextIO


def never_fail(*streams: TextIO) -> None:
    """Lets streams escape what their encoding lacks, as `…` on an ASCII terminal, instead of raising an error.

    Args:
        streams: Standard output and error by default. A stream that was put in their place is left as it is.
    """
    for stream in streams or (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
