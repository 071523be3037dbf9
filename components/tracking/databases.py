"""SQLite files as database URIs, written and read in one place, as SQLAlchemy reads them: `%xx` is decoded, `?` begins
options. MLflow and Optuna take these URIs.
"""

import re
from pathlib import Path
from urllib.parse import quote, unquote

_URI = re.compile(r"sqlite(?:\+\w+)?:///(?P<database>[^?]*)", re.DOTALL)
_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in "%?#")


def uri_of(file: Path) -> str:
    """Returns the URI of a SQLite file, by its absolute path.

    A path that needs quoting gets the long name of the driver: MLflow makes the parent folders of what follows
    `sqlite:///` literally, and would leave a folder `My%2520Project` beside `My%20Project`.
    """
    path = str(file.absolute())
    quoted = "".join(char if char > "\x7f" or char in _SAFE else quote(char) for char in path)
    return f"sqlite:///{path}" if quoted == path else f"sqlite+pysqlite:///{quoted}"


def file_of(uri: str) -> Path | None:
    """Returns the absolute path of the file that a URI names; None where it names no SQLite file."""
    found = _URI.match(uri)
    name = unquote(found["database"]) if found else ""
    return Path(name).absolute() if name not in ("", ":memory:") and not name.startswith("file:") else None


def normal(uri: str) -> str:
    """Returns the URI of a SQLite file as `uri_of` writes it, with the options that it has; any other URI as it is."""
    named = file_of(uri)
    _, asked, options = uri.partition("?")
    return uri if named is None else uri_of(named) + asked + options
