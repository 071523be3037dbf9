"""The next tick of a cron expression, for servers that keep schedules."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Cron:
    """A cron expression of five fields; TZ= or CRON_TZ= may precede it.

    A time ticks as often as the wall clock shows it: cronsim does so for six fields, seconds first.

    Args:
        expression: The expression.
        sunday: The last weekday: 7 where it means Sunday, too, and 6 where only 0 does.

    Raises:
        ValueError: It is malformed.
    """

    def __init__(self, expression: str, sunday: int = 7) -> None:
        zoned = re.fullmatch(r"(?:CRON_)?TZ=(\S+) (.+)", expression)
        try:
            self.zone = ZoneInfo(zoned[1] if zoned else "UTC")
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"provided bad location in {expression!r}") from None
        fields = (zoned[2] if zoned else expression).split()
        if len(fields) != 5:
            raise ValueError(f"expected 5 fields, found {len(fields)}: {expression!r}")
        if sunday < 7 and re.search(r"(?<![*/\d])7|-7", fields[4]):
            raise ValueError(f"the weekday {fields[4]!r} is outside 0 to {sunday}")
        self.fields = " ".join(["0", *fields])
        try:
            CronSim(self.fields, _EPOCH)
        except CronSimError as error:
            raise ValueError(f"failed to parse {expression!r}: {error}") from None

    def after(self, moment: datetime) -> datetime | None:
        """Returns the first tick after a moment, in UTC; None where there is none."""
        tick = next(CronSim(self.fields, moment.astimezone(self.zone)), None)
        return None if tick is None else tick.astimezone(UTC)
