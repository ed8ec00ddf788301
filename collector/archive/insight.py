"""Insight: what the archive tells a marketer of a tag's traffic, and of an audience's members."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from collector.archive import sql
from collector.archive.rows import TYPED
from collector.archive.scan import Archive
from collector.audience.rules import Role, Rule
from collector.clock import DAY
from collector.event import Scalar, normal_number

RECENT = 30 * DAY  # seconds that suggestions and top lists look back
LEAST = 10  # visitors: what fewer share could name one of them, so it is not shown
MOST = 20  # lines of a list

Top = Literal["pages", "products", "events"]

# The rows that count: no bar or tombstone on them, and full consent.
UNMARKED = sql.unmarked("archived", "marks")
COUNTED = f"{UNMARKED} WHERE verdict = 'full'"


class Step(NamedTuple):
    """One condition: its own size, and how many are left when those before it and itself are asked."""

    role: Role
    own: int
    left: int


class Day(NamedTuple):
    """An audience at a second: its size, and who came and went since the instant before."""

    at: int
    size: int
    entered: int
    left: int


class Insight:
    """Answers from the archive alone, so also for rules that nobody saved. Raises what Archive raises."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def funnel(self, tag: str, rule: Rule, *, at: int, floor: int = 0) -> list[Step]:
        """The rule's conditions in its order: main, all, any, exclude. The last step's `left` is the rule's size."""
        (row,) = self._archive.ask(tag, sql.funnel(rule, at=at, floor=floor, source="archived", marks="marks"))
        windows = rule.windows()
        own, left = row[: len(windows)], row[len(windows) :]
        return [
            Step(window.role, *counts) for window, counts in zip(windows, zip(own, left, strict=True), strict=True)
        ]

    def flow(self, tag: str, rule: Rule, instants: Sequence[int], *, floor: int = 0) -> list[Day]:
        """The audience at each instant (Unix seconds, rising) but the first, beside the instant before."""
        relevant = " OR ".join(f"({sql.predicate(leaf)})" for leaf in rule.leaves())
        days = " UNION ALL ".join(
            f"SELECT {place} AS day, visitor FROM ({query})"  # noqa: S608 (sql.py quotes its values)
            for place, query in enumerate(
                sql.members(rule, at=at, floor=floor, source="relevant", marks="marks") for at in instants
            )
        )
        query = f"""
            WITH relevant AS MATERIALIZED (SELECT * FROM archived WHERE {relevant}),
            days AS MATERIALIZED ({days})
            SELECT today.day, count(*), count(*) FILTER (WHERE before.visitor IS NULL)
            FROM days AS today LEFT JOIN days AS before
            ON before.visitor = today.visitor AND before.day = today.day - 1 GROUP BY 1"""  # noqa: S608 (as above)
        found = {day: (size, entered) for day, size, entered in self._archive.ask(tag, query)}
        flow = []
        for day, at in enumerate(instants[1:], 1):
            size, entered = found.get(day, (0, 0))
            before, _ = found.get(day - 1, (0, 0))
            flow.append(Day(at, size, entered, before + entered - size))
        return flow

    def tops(self, tag: str, rule: Rule, of: Top, *, at: int, floor: int = 0) -> list[tuple[str, int]]:
        """What members did in the last 30 days, most first: (page without query, product or event name, members)."""
        members = sql.members(rule, at=at, floor=floor, source="archived", marks="marks")
        names = {
            "pages": "split_part(url, '?', 1)",
            # By name where there is one: ids say little.
            "products": f"unnest(coalesce(nullif({_texts('product_name')}, []), {_texts('product_id')}))",
            "events": "event",
        }
        query = f"""
            WITH members AS MATERIALIZED ({members}),
            named AS (SELECT visitor, {names[of]} AS name FROM {UNMARKED} JOIN members USING (visitor)
                WHERE verdict = 'full' AND event_time BETWEEN {at - RECENT} AND {at})
            SELECT name, count(DISTINCT visitor) FROM named WHERE name <> '' GROUP BY 1
            HAVING count(DISTINCT visitor) >= {LEAST} ORDER BY 2 DESC, 1 LIMIT {MOST}"""  # noqa: S608 (as above)
        return self._archive.ask(tag, query)

    def events(self, tag: str, *, at: int) -> list[tuple[str, int]]:
        """Event names of the last 30 days and their visitors, most first."""
        query = f"""
            SELECT event, count(DISTINCT visitor) FROM {COUNTED}
            AND event_time BETWEEN {at - RECENT} AND {at} GROUP BY 1
            HAVING count(DISTINCT visitor) >= {LEAST} ORDER BY 2 DESC, 1 LIMIT {MOST}"""  # noqa: S608 (integers)
        return self._archive.ask(tag, query)

    def keys(self, tag: str, *, at: int) -> list[tuple[str, int]]:
        """Keys of event data, at the top or in a line item, of the last 30 days, and their visitors, most first."""
        typed = ", ".join(
            f"CASE WHEN {number} IS NOT NULL OR {text} IS NOT NULL THEN '{key}' END"
            for key, (number, text) in TYPED.items()
        )
        query = f"""
            WITH held AS (SELECT visitor, unnest([{typed}] || coalesce(json_keys(data), []) || flatten(
                list_transform(coalesce(json_extract(line_items, '$[*]'), []), lambda item: json_keys(item)))) AS key
                FROM {COUNTED} AND event_time BETWEEN {at - RECENT} AND {at})
            SELECT key, count(DISTINCT visitor) FROM held WHERE key IS NOT NULL GROUP BY 1
            HAVING count(DISTINCT visitor) >= {LEAST} ORDER BY 2 DESC, 1 LIMIT {MOST}"""  # noqa: S608 (as above)
        return self._archive.ask(tag, query)

    def values(self, tag: str, key: str, *, at: int, containing: str = "") -> list[tuple[Scalar, int]]:
        """Values really seen under a key of event data in the last 30 days, and their visitors, most first."""
        query = f"""
            WITH held AS (SELECT visitor, unnest({sql.held(key)}) AS value
                FROM {COUNTED} AND event_time BETWEEN {at - RECENT} AND {at})
            SELECT value.number, value.text, count(DISTINCT visitor) FROM held
            WHERE contains(lower(coalesce(value.text, {sql.as_text('value.number')})), lower({sql.quote(containing)}))
            GROUP BY 1, 2 HAVING count(DISTINCT visitor) >= {LEAST}
            ORDER BY 3 DESC, 1, 2 LIMIT {MOST}"""  # noqa: S608 (quoted)
        rows: list[Any] = self._archive.ask(tag, query)
        return [(text if number is None else normal_number(number), visitors) for number, text, visitors in rows]


def _texts(key: str) -> str:
    """What an event holds under a key, as a list of texts."""
    text = f"coalesce(one.text, {sql.as_text('one.number')})"
    return f"list_transform({sql.held(key)}, lambda one: {text})"
