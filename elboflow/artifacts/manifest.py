"""What a folder says of itself: JSON of a numbered format, checked before any of it is used.

Format 2 and all later ones carry a checksum of themselves. Format 1, which has none, goes on being read.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NoReturn, TypeVar

from pydantic import Field, PrivateAttr, ValidationError

from elboflow.artifacts.reading import DamagedError, told
from elboflow.settings import Settings, WorkError
from elboflow.settings.explain import UNKNOWN_KIND, explain
from elboflow.settings.terminal import one_line

FORMAT, CHECKSUM = "format", "checksum"
LARGEST = 2**20
"""Bytes of a manifest, where its format does not say otherwise. Ours have some thousands."""
_FIRST_WITH_CHECKSUM = 2
_HIGHEST = 1_000_000  # what is above is no format, but damage
_LONGEST_REASON = 400
_TOLD = 1000  # mistakes of which the first is told: pydantic describes them all, and a file may have a million

T = TypeVar("T", bound=Settings)


class Listed(Settings):
    """A file as a manifest lists it."""

    bytes: Annotated[int, Field(strict=True, ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


Files = dict[str, Listed]


class Described(Settings):
    """What every manifest of a folder says."""

    files: Files
    _format: int = PrivateAttr(0)

    @property
    def format(self) -> int:
        """The number of the format that it was read from: the other files of the folder are of that format, too."""
        return self._format


@dataclass(frozen=True)
class Format(Generic[T]):
    """How the manifests of one kind of artifact are written and read.

    Attributes:
        kind: What it is the manifest of: `model` has `model.json`.
        schema: What the newest format says, besides its number and its checksum.
        upgrades: What turns the facts of format 1 into those of format 2, those of format 2 into those of 3, …; None
            where these are the same, and another file of the folder is not (see `Described.format`).
        holds: Files that every such folder lists.
        largest: Bytes that a manifest may have. As Python's values they take up to 30 times as much.
    """

    kind: str
    schema: type[T]
    upgrades: tuple[Callable[[dict[str, Any]], dict[str, Any]] | None, ...] = ()
    holds: frozenset[str] = frozenset()
    largest: int = LARGEST

    @property
    def newest(self) -> int:
        """The number of the newest format."""
        return len(self.upgrades) + 1

    def write(self, facts: T, indent: int = 2) -> str:
        """Returns the text of a manifest of the newest format."""
        return sealed({FORMAT: self.newest, **facts.model_dump(mode="json")}, indent)

    def read(self, content: bytes, place: object) -> T:
        """Reads the text of a manifest of any format.

        Raises:
            WorkError: It is damaged, or of a newer version of this program, or says what none would.
        """
        if len(content) > self.largest:
            raise DamagedError(place, f"it is larger than {self.largest:,} bytes")
        facts = unsealed(content, place, self.newest)
        found = facts.pop(FORMAT)
        try:
            for upgrade in filter(None, self.upgrades[found - 1 :]):
                facts = upgrade(facts)
            read = self.schema.model_validate(facts)
        except WorkError as error:
            raise WorkError(f"{place} cannot be used: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            raise unreadable(place, error, self.schema) from None
        if isinstance(read, Described):
            read._format = found
        return read


def checksum_added(facts: dict[str, Any]) -> dict[str, Any]:
    """Upgrades facts where all that the next format added is the checksum."""
    return facts


def sealed(facts: Mapping[str, Any], indent: int = 2) -> str:
    """Returns the text of a manifest, with its checksum if it is of a format that has one."""
    values = json.loads(json.dumps({name: value for name, value in facts.items() if name != CHECKSUM}))
    if values[FORMAT] >= _FIRST_WITH_CHECKSUM:
        values[CHECKSUM] = _checksum(values)
    return json.dumps(values, indent=indent, allow_nan=False) + "\n"


def unsealed(content: bytes, place: object, newest: int | None = None, unnumbered: int | None = None) -> dict[str, Any]:
    """Reads the text of a manifest and checks it against its checksum, which is left out of what is returned.

    Args:
        content: The text.
        place: Where it stands, for messages.
        newest: The newest format that can be read; None: any.
        unnumbered: The format of a manifest that says none; None: there is no such.

    Raises:
        WorkError: It is damaged, or of a newer format.
    """
    try:
        facts = json.loads(content.decode("utf-8"), parse_constant=_refused, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise DamagedError(place, f"it is not JSON ({_printable(str(error))})") from None
    if not isinstance(facts, dict):
        raise DamagedError(place, "it is not a JSON object")
    found = facts.setdefault(FORMAT, unnumbered)
    if type(found) is not int or not 1 <= found <= _HIGHEST:
        raise DamagedError(place, "it does not say its format")
    if newest is not None and found > newest:
        reads = "1" if newest == 1 else f"1 and {newest}" if newest == 2 else f"1 to {newest}"
        raise WorkError(f"{place} was written by a newer ELBOflow: its format is {found}; this version reads {reads}")
    try:
        if found >= _FIRST_WITH_CHECKSUM and facts.pop(CHECKSUM, None) != _checksum(facts):
            raise DamagedError(place, "its checksum is not that of its content")
    except RecursionError:
        raise DamagedError(place, "it nests too deeply") from None
    return facts


def unreadable(place: object, error: Exception, schema: type[Settings] | None = None) -> WorkError:
    """Returns the error of facts that are not what a schema says: one sentence, for a person."""
    if isinstance(error, ValidationError) and error.error_count() > _TOLD:
        why = f"{error.error_count():,} of its values are not what is expected"
    elif isinstance(error, ValidationError):
        first, *others = map(str, explain(error, schema)) if schema else map(told, error.errors())
        why = first + (f" (and {len(others)} more)" if others else "")
    else:
        why = f"{type(error).__name__}: {error}"
    if UNKNOWN_KIND in why:
        elsewhere = "a package that is not installed here has it, or another version of ELBOflow"
        return WorkError(f"{place} cannot be used: {_printable(why)}; {elsewhere}")
    return DamagedError(place, f"{_printable(why)} (or another version of ELBOflow wrote it)")


def _checksum(facts: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of JSON values. The order of their keys and the space between them do not matter."""
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _finite(number: str) -> float:
    """Returns a number, which JSON's readers would make infinite where it is beyond a float: 1e999."""
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number[:20]} is beyond the floating-point numbers of 64 bits")
    return value


def _printable(text: str) -> str:
    """Returns text on one line of bounded length, with all escaped that a screen would obey."""
    return one_line(text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…")
