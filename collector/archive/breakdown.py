"""Breakdown: what a tag's stored events of the last week are made of, and what consent they came with."""

from typing import NamedTuple

from collector.archive.scan import Archive
from collector.clock import DAY

DAYS = 7  # as long as fates are counted (health.KEPT_DAYS)
MOST = 12  # lines of a list

ORIGIN = r"regexp_extract(url, '^(https?://[^/?#]*)', 1)"


class Breakdown(NamedTuple):
    """Events by name, by the origin of their page ("" for none) and by source, most first."""

    events: list[tuple[str, int]]
    origins: list[tuple[str, int]]
    sources: list[tuple[str, int]]


def breakdown(archive: Archive, tag: str, now: float) -> Breakdown:
    """Raises what Archive.ask raises."""
    since = int((now - DAYS * DAY) * 1000)
    shown: dict[str, list[tuple[str, int]]] = {"event": [], "origin": [], "source": []}
    parts = " UNION ALL ".join(
        f"(SELECT '{name}', {value}, count(*) AS n FROM archived WHERE sid_ms >= {since} AND verdict <> 'none' "  # noqa: S608
        f"GROUP BY 2 ORDER BY n DESC, 2 LIMIT {MOST})"
        for name, value in (("event", "event"), ("origin", f"coalesce({ORIGIN}, '')"), ("source", "source"))
    )
    for name, value, count in archive.ask(tag, parts, since=since):
        shown[name].append((value, count))
    return Breakdown(*(sorted(some, key=lambda line: -line[1]) for some in shown.values()))


def verdicts(archive: Archive, tag: str, now: float) -> list[tuple[int, str, str, int]]:
    """(Unix day, verdict, the signals that decided by commas, events) of what was stored in the last week."""
    since = int((now // DAY - DAYS) * DAY * 1000)
    query = f"""SELECT received_at // {DAY * 1000}, verdict, coalesce(consent, ''), count(*) FROM archived
        WHERE sid_ms >= {since} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""  # noqa: S608 (a number)
    return archive.ask(tag, query, since=since)
