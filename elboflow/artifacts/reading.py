"""Reading a JSON file that may have been damaged since it was written: by a full disk, a bad sector, an editor."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from elboflow.settings import WorkError

T = TypeVar("T")


class DamagedError(WorkError):
    """A file is not what was once written there.

    Attributes:
        path: The file, or what stands for it in the message.
    """

    def __init__(self, path: object, found: str) -> None:
        super().__init__(f"{path} is damaged: {found}")
        self.path = path


def read_json(path: Path, parse: Callable[[Any], T]) -> T:
    """Returns what a JSON file holds.

    Args:
        path: The file.
        parse: Makes of the JSON value what is wanted; any error of values, keys and types means that it is not that.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: It cannot be read, is no JSON, or holds something else.
    """
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise WorkError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise DamagedError(path, "it nests too deeply") from None
    except KeyError as error:
        raise DamagedError(path, f"it lacks {error}") from None
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise DamagedError(path, _first_line(error)) from None


def told(problem: ErrorDetails) -> str:
    """Returns where a value is not what was expected, and how."""
    return f"{'.'.join(map(str, problem['loc'])) or 'it'}: {problem['msg']}"


def _first_line(error: Exception) -> str:
    """Returns what an error says, in one line: of a validator's, the first."""
    if isinstance(error, ValidationError):
        return told(error.errors(include_url=False)[0])
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].strip()
