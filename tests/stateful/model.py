"""The model: what was accepted, in plain lists, answered by the brute-force oracle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests import oracle

Raw = dict[str, Any]
Rule = Mapping[str, Any]
StreamId = tuple[int, int]
Who = tuple[str, str]  # tag, visitor


class Row(NamedTuple):
    """An event that a stream took, where it lies, and how the oracle reads it."""

    tag: str
    partition: int
    id: StreamId
    event_id: str
    raw: Raw  # time, visitor, event, url, data, source, verdict


@dataclass
class Model:
    """Everything that was ever accepted. Nothing is forgotten here but by a tombstone's second."""

    rows: list[Row] = field(default_factory=list)
    seen: set[tuple[str, str, str, str]] = field(default_factory=set)
    ledger: dict[tuple[str, int], int] = field(default_factory=dict)
    bars: dict[Who, int] = field(default_factory=dict)
    tombstones: dict[Who, int] = field(default_factory=dict)
    dead: int = 0

    def remember(self, tag: str, raw: Raw, event_id: str) -> bool:
        """Whether the event is new; from now on it is not."""
        key = (tag, raw["visitor"], raw["event"], event_id)
        new = key not in self.seen
        self.seen.add(key)
        return new

    def mark(self, kind: str, who: Who, second: int) -> None:
        marks = self.bars if kind == "bar" else self.tombstones
        marks[who] = max(marks.get(who, -1), second)

    def marks(self, tag: str) -> dict[str, int]:
        """Visitor → the second up to which nothing counts."""
        return latest_of(tag, self.bars, self.tombstones)

    def members(
        self,
        tag: str,
        rule: Rule,
        *,
        at: int,
        created_at: int,
        lookback: int | None = None,
        marks: Mapping[str, int],
        applied: Sequence[StreamId] | None = None,
    ) -> set[str]:
        """The members at `at`; `applied`: of what lies at or before these places of the streams only."""
        events = [
            row.raw
            for row in self.rows
            if row.tag == tag and (applied is None or row.id <= applied[row.partition])
        ]
        return oracle.members(events, rule, at=at, created_at=created_at, lookback=lookback, marks=marks)

    def kept(self, tag: str) -> list[Row]:
        """The rows that no tombstone covers: what archive and stream may still hold."""
        return [
            row
            for row in self.rows
            if row.tag == tag and row.raw["time"] > self.tombstones.get((tag, row.raw["visitor"]), -1)
        ]


def latest_of(tag: str, *several: Mapping[Who, int]) -> dict[str, int]:
    """Visitor → the latest of a tag's marks."""
    found: dict[str, int] = {}
    for marks in several:
        for (owner, visitor), second in marks.items():
            if owner == tag:
                found[visitor] = max(found.get(visitor, -1), second)
    return found
