"""Locations: local paths and URIs. This module alone decides which of the two a text is.

A URI that cannot be opened must not pass for a path: `gs://bucket/data` would become a local folder `gs:`, and in a
container the data would be lost with it.
"""

import os
import re
from urllib.parse import unquote_to_bytes

from pydantic import AfterValidator

# RFC 3986, section 3.1, with at least two letters: `C:\data` and `C:/data` are paths of Windows. A URI that lost a
# slash, gs:/bucket, is one still, and one of a kind of storage also without both. A folder that is called `gs:` can be
# written ./gs:
_STORAGE = "file|gs|s3[an]?|az|azfs|abfss?|wasbs?|hdfs|dbfs|https?"
_SCHEME = re.compile(rf"[\s'\"]*((?:{_STORAGE})(?=:)|[a-z][a-z0-9+.-]+(?=:/)):", re.IGNORECASE)


def scheme(location: str) -> str | None:
    """Returns the scheme of a URI, in lower case; None for a path."""
    found = _SCHEME.match(location)
    return None if found is None else found[1].lower()


def normalised(location: str, *schemes: str) -> str:
    """Returns a location as the program uses it: a path, or a URI of one of the allowed schemes.

    Args:
        location: The path or URI as written. `file:///PATH` is the path.
        schemes: The schemes that can be opened here, besides `file`.

    Raises:
        ValueError: It is empty, or a URI that cannot be opened here; the sentence says what is allowed.
    """
    found = scheme(location)
    allowed = ", ".join(["a path of this machine", "file:///PATH", *(f"{known}://BUCKET/NAME" for known in schemes)])
    if not location.strip():
        raise ValueError(f"empty; allowed: {allowed}")
    if found is None:
        return location
    if location.strip()[0] in "'\"":
        raise ValueError(f"{location} is a URI in quotes; write it without them")
    rest = location.strip()[len(found) + 1 :]
    if found == "file":
        return _path(location, rest)
    if found not in schemes:
        raise ValueError(f"{location} is a URI that cannot be used here; allowed: {allowed}")
    if not re.match(r"//[^/\s]", rest):
        raise ValueError(f"{location} names no bucket; write {found}://BUCKET/NAME")
    return f"{found}:{rest}"


def of_mlflow(location: str) -> str:
    """Returns the address of an MLflow as it was written: a server's, or a database's.

    Raises:
        ValueError: It is a word, a path or a file, in which MLflow no longer keeps anything; what is allowed.
    """
    if scheme(location) in (None, "file") and not location.startswith("databricks"):
        allowed = "http://HOST:PORT, https://HOST, or a database such as sqlite:////FOLDER/mlflow.db"
        raise ValueError(f"{location} is no address of an MLflow; allowed: {allowed}")
    return location


def allowing(*schemes: str) -> AfterValidator:
    """Returns a validator of a setting that is a location, which it normalises."""
    return AfterValidator(lambda location: normalised(location, *schemes))


def _path(location: str, rest: str) -> str:
    """Returns the path of a `file:` URI (RFC 8089)."""
    host, slash, path = rest.removeprefix("//").partition("/") if rest.startswith("//") else ("", "/", rest[1:])
    if not slash or not rest.startswith("/"):
        raise ValueError(f"{location} is no file:///PATH; its path must be absolute")
    if host.lower() not in ("", "localhost"):
        raise ValueError(f"{location} names the host {host!r}; a file of this machine is file:///PATH")
    if "?" in path or "#" in path:
        raise ValueError(f"{location} has a query or a fragment; in a path, write ? as %3F and # as %23")
    named = os.fsdecode(unquote_to_bytes(f"/{path}"))
    if "\0" in named:
        raise ValueError(f"{location} holds a zero byte; no path does")
    return named
