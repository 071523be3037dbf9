"""Timezones of the tz database, and suggestions for names that it does not have.

A near name may mean another time: EST is seven hours from CEST. What is suggested for an abbreviation or an offset
therefore shows the same time; only names of places are compared by their letters.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, Field

from elboflow.settings import RequestError
from elboflow.settings.explain import shown
from elboflow.settings.near import near

_OFFSET = re.compile(r"(?:utc|gmt)?\s*([+-])\s*(\d{1,2})(?::?(\d{2}))?(?::?00)?", re.IGNORECASE)
_ABBREVIATION = re.compile(r"[A-Za-z]{2,5}")
_WORDS = re.compile(r"[A-Za-z_/ .-]{4,60}")
_KNOWN = (
    *("Europe/Berlin", "Europe/Paris", "Europe/London", "Europe/Dublin", "Europe/Lisbon", "Europe/Athens"),
    *("Europe/Helsinki", "Europe/Moscow", "America/New_York", "America/Toronto", "America/Chicago", "America/Denver"),
    *("America/Los_Angeles", "America/Sao_Paulo", "Asia/Tokyo", "Asia/Shanghai", "Asia/Seoul", "Asia/Kolkata"),
    *("Asia/Jerusalem", "Asia/Singapore", "Asia/Manila", "Asia/Karachi", "Australia/Sydney", "Australia/Perth"),
    *("Pacific/Auckland", "Africa/Johannesburg", "Africa/Lagos", "Africa/Nairobi"),
)
"""Well-known places, suggested first among places with the same time."""

_NO_ZONES = frozenset({"Factory", "localtime", "posixrules"})
"""Files among the zones whose time depends on the machine, or that have none."""

_NO_AREAS = ("posix/", "right/")
"""Copies of all zones: the second counts leap seconds, and is half a minute off."""


def zone(name: str) -> ZoneInfo:
    """Returns a timezone of the tz database.

    Raises:
        RequestError: There is none of that name. The message says what means the same, or which name is near.
    """
    try:
        found = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        found = None
    if found is not None and _is_listed(name):
        return found
    if not name.strip():
        raise RequestError(f"timezone {shown(name)}: it is empty; {_EXPECTED}")
    raise RequestError(f"timezone {shown(name)}: the tz database has no such zone; {_instead(name.strip())}")


def _is_listed(name: str) -> bool:
    """Whether a name is a zone, and not another file of the database's folder, such as the machine's local time."""
    if name == "UTC" or name in _names():
        return True
    if name in _NO_ZONES or name.startswith(_NO_AREAS):
        return False
    _names.cache_clear()  # it may be newer than this process
    return name in _names()


@cache
def _names() -> frozenset[str]:
    """Returns the names of all zones. Kept: it takes a walk through a folder."""
    return frozenset(available_timezones() - _NO_ZONES)


def _known(name: str) -> str:
    zone(name)
    return name


Timezone = Annotated[str, AfterValidator(_known), Field(description="a name of the tz database: Europe/Berlin")]
"""The value of a key `timezone`."""

_EXPECTED = "expected UTC, or the name of a place, such as Europe/Berlin"


@cache
def _instead(name: str) -> str:
    """Returns a suggestion for an unknown name. Cached, because a scheduler asks at every pass."""
    names = {known.lower(): known for known in sorted(_names())}
    plain = name.lower().removeprefix("posix/").removeprefix("right/")
    if plain in names:
        return f"did you mean '{names[plain]}'?"
    if (offset := _OFFSET.fullmatch(name)) is not None:
        return _of_offset(offset)
    if _ABBREVIATION.fullmatch(name) and (meant := _of_abbreviation(name.upper())):
        return meant
    if not _WORDS.fullmatch(name):
        return _EXPECTED
    places = {lower: known for lower, known in names.items() if "/" in known and not lower.startswith("etc/")}
    cities = {lower.rpartition("/")[2]: known for lower, known in places.items()}
    meant = near(name.lower().replace(" ", "_"), [*places, *cities])
    return f"did you mean '{(cities | places)[meant]}'?" if meant else _EXPECTED


def _of_abbreviation(name: str) -> str | None:
    """Returns the places whose clocks show an abbreviation, grouped by offset; None if there are none."""
    times: dict[timedelta, list[str]] = {}
    for place in _places():
        for moment in _SEASONS:
            local = moment.astimezone(ZoneInfo(place))
            if local.tzname() == name and place not in (found := times.setdefault(local.utcoffset() or _NONE, [])):
                found.append(place)
    if not times:
        return None
    meant = [f"{_utc(offset)} in {', '.join(places[:3])}" for offset, places in sorted(times.items())]
    return f"{name} is {', or '.join(meant)}: name the place, whose clocks are followed in summer and in winter"


def _of_offset(written: re.Match[str]) -> str:
    sign, hours, minutes = written[1], int(written[2]), int(written[3] or 0)
    offset = timedelta(hours=hours, minutes=minutes) * (1 if sign == "+" else -1)
    fixed = f"Etc/GMT{'-' if sign == '+' else '+'}{hours}" if hours else "UTC"
    if not minutes and fixed in _names() | {"UTC"}:
        reversed_sign = ", whose sign is the other way round," if hours else ""
        return f"'{fixed}'{reversed_sign} is {_utc(offset)} all year; the name of a place follows its clocks"
    same = [
        place
        for place in _places()
        if all(moment.astimezone(ZoneInfo(place)).utcoffset() == offset for moment in _SEASONS)
    ]
    return f"{_utc(offset)} all year is the time of {', '.join(same[:3])}" if same else _EXPECTED


_NONE = timedelta()
_YEAR = datetime.now(UTC).year
_SEASONS = (datetime(_YEAR, 1, 15, tzinfo=UTC), datetime(_YEAR, 7, 15, tzinfo=UTC))


def _places() -> Iterator[str]:
    yield from _KNOWN
    areas = ("Africa/", "America/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/")
    yield from (name for name in sorted(_names()) if name.startswith(areas) and name not in _KNOWN)


def _utc(offset: timedelta) -> str:
    minutes = int(offset.total_seconds()) // 60
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}{f':{rest:02}' if rest else ''}" if minutes else "UTC"
