"""Audit: who did what with audiences, visitors, tags, keys and people. A stream in Redis, the newest kept.

A visitor is named as in the proof files (keys.visitor_name): the log of an erasure must not be what gives it away.
"""

from typing import Literal, NamedTuple

from collector import keys
from collector.connections import Redis
from collector.stream import read

MOST = 10_000  # entries kept, some 2 MB: years of a team's work
LONGEST = 200  # characters of who, and of what it was done to

Act = Literal[
    "signed_in",
    "made_account",
    "invited_person",
    "changed_person",
    "removed_person",
    "made_key",
    "replaced_key",
    "ended_key",
    "created_tag",
    "edited_tag",
    "created_audience",
    "edited_audience",
    "deleted_audience",
    "restored_audience",
    "exported_members",
    "looked_up_visitor",
    "erased_visitor",
    "retried_dead_letters",
    "dropped_dead_letters",
    "stopped_backfill",
    "resumed_backfill",
]
Way = Literal["dashboard", "api", "command"]


class Entry(NamedTuple):
    """One line of the log. at: Unix seconds; who: a person's login or a key's name; what: an id, a name, or ""."""

    at: int
    who: str
    way: str
    act: str
    what: str
    tag: str


def note(client: Redis, who: str, way: Way, act: Act, what: str = "", tag: str = "") -> None:
    """Write a line. Raises connections.Unavailable: then nobody is told that what was done is in the log."""
    fields = {"who": who[:LONGEST], "way": way, "act": act, "what": what[:LONGEST], "tag": tag}
    client.xadd(keys.AUDIT, fields, maxlen=MOST, approximate=True)


def latest(client: Redis, count: int, *, before: str = "+") -> tuple[list[Entry], str]:
    """(the newest lines before a place, newest first; the place of those before them, "" where there are none)."""
    rows = client.xrevrange(keys.AUDIT, before, count=count + 1)
    lines = [_entry(place, fields) for place, fields in rows[:count]]
    return lines, rows[count][0].decode() if len(rows) > count else ""


def _entry(place: bytes, fields: dict[bytes, bytes]) -> Entry:
    said = {name.decode(): value.decode() for name, value in fields.items()}
    return Entry(
        read.parse(place)[0] // 1000, said["who"], said["way"], said["act"], said["what"], said["tag"]
    )
