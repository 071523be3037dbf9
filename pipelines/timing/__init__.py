"""When something runs by itself: a cron, its timezone, and the moments that they mean. Below targets and schedules."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PositiveInt, Strict

CatchUp = Literal["none", "last", "all"]
"""Which missed ticks run later."""

_YEARS = range(1970, 9991)


def _moment(value: Any) -> Any:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime) or moment.tzinfo is None or moment.year not in _YEARS:
        raise ValueError
    return moment


Moment = Annotated[datetime, BeforeValidator(_moment)]
"""A time with its offset; where it is read, in ISO 8601."""

Text = Annotated[str, Strict()]
Count = Annotated[PositiveInt, Strict()]


@dataclass(frozen=True)
class Timing:
    """When a schedule runs.

    Attributes:
        cron: Five fields: minute, hour, day of month, month, day of week.
        timezone: A name of the tz database, such as Europe/Berlin.
        max_active: Runs that may be active at once; a tick beyond them is recorded and does not run.
        catch_up: Which missed ticks run later.
    """

    cron: Text
    timezone: Text = "UTC"
    start: Moment | None = None
    end: Moment | None = None
    max_active: Count = 1
    catch_up: CatchUp = "none"
