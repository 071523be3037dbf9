"""Names of runs and schedules on platforms: unique, so that a submission that has to be repeated is recognised."""

import secrets
from datetime import UTC, datetime


def unique(experiment: str) -> str:
    """Returns a unique name: NAME-YYYYMMDD-HHMMSS-HEX, in lower case, for ids that want it so."""
    return f"{experiment}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
