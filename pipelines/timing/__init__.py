"""When something runs by itself: a cron, its timezone, and the moments that they mean. Below targets and schedules."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

CatchUp = Literal["none", "last", "all"]
"""Which missed ticks run later."""


@dataclass(frozen=True)
class Timing:
    """When a schedule runs.

    Attributes:
        cron: Five fields: minute, hour, day of month, month, day of week.
        timezone: A name of the tz database, such as Europe/Berlin.
        start: No tick before it.
        end: No tick after it.
        max_active: Runs that may be active at once; a tick beyond them is recorded and does not run.
        catch_up: Which missed ticks run later.
    """

    cron: str
    timezone: str = "UTC"
    start: datetime | None = None
    end: datetime | None = None
    max_active: int = 1
    catch_up: CatchUp = "none"
