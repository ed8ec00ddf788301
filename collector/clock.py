"""The one clock: whatever needs the time is handed a `Clock`, so that tests can move it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], float]
"""Returns Unix time in seconds, with its fraction."""

DAY = 86_400

system: Clock = time.time


def iso(unix: float) -> str:
    """ISO 8601 in UTC, whole seconds: what the API shows for a Unix time."""
    return datetime.fromtimestamp(int(unix), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def end_of(day: str) -> int:
    """The Unix second at which a day (UTC, as 2027-01-31) is over. Raises ValueError when the text is none."""
    try:
        over = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except OverflowError:
        raise ValueError(f"{day} is the last day there is") from None
    return int(over.timestamp())


def parse_iso(text: str) -> float:
    """Unix seconds of an ISO 8601 instant; without an offset it is taken as UTC.

    Raises ValueError when the text is no instant.
    """
    instant = datetime.fromisoformat(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
