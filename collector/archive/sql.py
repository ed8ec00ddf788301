"""Rules over past traffic: leaves and rules → DuckDB SQL over archive rows (see rows.SCHEMA).

The queries are text without parameters, every value quoted here. `source` names the relation with the rows of
one tag, `marks` a relation (mark BIGINT, until BIGINT): rows of that visitor up to that second do not count.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from collector.archive.rows import TEXTS, TYPED, key_text
from collector.audience.rules import Filter, Leaf, Operand, Role, Rule, Window
from collector.clock import DAY
from collector.event import Scalar


class Span(NamedTuple):
    """A leaf, and the event times to look at: low ≤ event_time < high, Unix seconds."""

    leaf: Leaf
    low: int
    high: int


class Extent(NamedTuple):
    """What all rows are within: oldest ≤ event_time ≤ newest, Unix seconds, and stream ids up to `last` (ms, seq).

    Tests that all of them pass are left out of a query: they take a quarter of a scan.
    """

    oldest: int
    newest: int
    last: tuple[int, int]


def latest(
    spans: Sequence[Span], *, source: str, marks: str, until: tuple[int, int], extent: Extent | None = None
) -> str:
    """Rows (visitor, leaf_0, leaf_1, …), ordered by visitor, of the visitors that match any of the spans.

    leaf_i holds the event times of the i-th span's latest matches, up to its leaf's count, the latest first; of a leaf
    that counts to one it is the time itself; NULL without any. Only rows with full consent and a stream id ≤ until
    (ms, seq) are looked at.
    """
    matches = []
    for span in spans:
        tests = [predicate(span.leaf)]
        if extent is None or extent.oldest < span.low:
            tests.append(f"event_time >= {span.low}")
        if extent is None or extent.newest >= span.high:
            tests.append(f"event_time < {span.high}")
        matches.append(" AND ".join(tests))
    ms, seq = until
    known = extent is not None and extent.last <= until
    where = "true" if known else f"(sid_ms, sid_seq) <= ({ms}, {seq})"
    scan = _scan([span.leaf for span in spans], matches, source, marks, where=where)
    return f"{scan} ORDER BY visitor"


def members(
    rule: Rule, *, at: int, floor: int = 0, lookback: int | None = None, source: str, marks: str
) -> str:
    """Rows (visitor), in no order: the rule's members at the second `at`. Events before `floor` do not count.

    Raises RuleError when the rule takes no such lookback (days).
    """
    scan, inside = _standing(rule, at, floor, lookback, source, marks)
    return f"SELECT visitor FROM ({scan}) WHERE {_narrowed(inside)[-1]}"  # noqa: S608 (every value is quoted)


def funnel(rule: Rule, *, at: int, floor: int = 0, source: str, marks: str) -> str:
    """One row: for each condition of the rule its own size, then for each how many are left of those before it.

    Conditions come in the order of the rule: main, all, any, exclude. The last number is the size of the rule.
    """
    scan, inside = _standing(rule, at, floor, None, source, marks)
    counted = [test for _, test in inside] + _narrowed(inside)
    return f"SELECT {', '.join(f'count(*) FILTER (WHERE {test})' for test in counted)} FROM ({scan})"  # noqa: S608


def _standing(
    rule: Rule, at: int, floor: int, lookback: int | None, source: str, marks: str
) -> tuple[str, list[tuple[Role, str]]]:
    """A row for each visitor whom any condition concerns, and for each condition a test whether it holds."""
    windows = rule.windows(lookback)
    leaves = rule.leaves()
    lows = {window: max(at - window.days * DAY, floor) for window in windows}
    scan = _scan(
        leaves,
        list(map(predicate, leaves)),
        source,
        marks,
        where=f"event_time BETWEEN {min(lows.values())} AND {at}",
    )

    def inside(window: Window) -> str:
        main = windows[0].leaf
        kth = _nth(leaves.index(window.leaf), window.leaf, window.leaf.count)
        since = f" AND {kth} >= {_nth(leaves.index(main), main, 1)}" if window.since else ""
        return f"coalesce({kth} >= {lows[window]}{since}, false)"

    return scan, [(window.role, inside(window)) for window in windows]


def _narrowed(inside: Sequence[tuple[Role, str]]) -> list[str]:
    """For each condition what must hold when it and those before it are asked; all of "any" count as one."""
    some = [test for role, test in inside if role == "any"]
    so_far: list[str] = []
    narrowed = []
    for role, test in inside:
        if role != "any":
            so_far.append(f"NOT {test}" if role == "exclude" else test)
        elif test is some[0]:
            so_far.append(_any(some))
        narrowed.append(" AND ".join(so_far))
    return narrowed


def predicate(leaf: Leaf) -> str:
    """A boolean expression over a row, never NULL: whether the leaf matches it."""
    tests = []
    if leaf.events:
        tests.append(_one_of("event", leaf.events))
    if leaf.source:
        tests.append(f"source = {quote(leaf.source)}")
    tests += [_url(operator, text) for operator, text in leaf.url]
    tests += [_filter(filter) for filter in leaf.data]
    return " AND ".join(tests) or "true"


def _scan(leaves: Sequence[Leaf], matches: Sequence[str], source: str, marks: str, *, where: str) -> str:
    named = ", ".join(f"({match}) AS match_{place}" for place, match in enumerate(matches))
    columns = ", ".join(
        f"{_greatest(f'CASE WHEN match_{place} THEN event_time END', leaf)} AS leaf_{place}"
        for place, leaf in enumerate(leaves)
    )
    return f"""
        SELECT visitor, {columns} FROM (
            SELECT visitor, event_time, {named} FROM {unmarked(source, marks)}
            WHERE verdict = 'full' AND {where} AND {_any(matches)})
        GROUP BY visitor"""  # noqa: S608 (every value is quoted)


def _greatest(value: str, leaf: Leaf) -> str:
    """The aggregate of a leaf's greatest values. A list takes a scan an eighth longer, so there is none of one."""
    return f"max({value})" if leaf.count == 1 else f"max({value}, {leaf.count})"


def _nth(place: int, leaf: Leaf, n: int) -> str:
    """The n-th of them, from one."""
    return f"leaf_{place}" if leaf.count == 1 else f"leaf_{place}[{n}]"


def unmarked(source: str, marks: str) -> str:
    """What follows FROM for rows that no bar or tombstone covers. NOT EXISTS would take half of a scan."""
    return (
        f"{source} AS archived ANTI JOIN {marks} AS marked "
        "ON (marked.mark = archived.mark AND archived.event_time <= marked.until)"
    )


def _any(tests: Iterable[str]) -> str:
    return f"({' OR '.join(f'({test})' for test in tests)})"


def _url(operator: str, text: str) -> str:
    match operator:
        case "contains":
            test = f"contains(url, {quote(text)})"
        case "not_contains":
            test = f"NOT contains(url, {quote(text)})"
        case "starts_with":
            test = f"starts_with(url, {quote(text)})"
        case "matches":
            test = f"regexp_matches(url, {quote(text)})"
        case _:
            test = f"url {operator} {quote(text)}"
    return f"coalesce({test}, false)"  # url is NULL where there is none


def _filter(filter: Filter) -> str:
    wanted = [test for test in filter.tests if test[0] != "!="]
    unwanted = [("=", operand) for operator, operand in filter.tests if operator == "!="]
    tests = []
    if wanted or unwanted:
        tests.append(_any_value(filter.key, wanted))
    if unwanted:
        tests.append(f"NOT {_any_value(filter.key, unwanted)}")
    return f"({' AND '.join(tests)})"


def _any_value(key: str, tests: Sequence[tuple[str, Operand]]) -> str:
    """Whether one value under the key, at the top level or in a line item, passes all the tests."""
    if key in TYPED:
        number, text = TYPED[key]
        top = _value(number, text, tests)
    else:
        top = _value(*_json_value("data", key), tests)
    item = _value(*_json_value("item", key), tests)
    # Reading line items takes four fifths of a scan, and most have no such key: a look at their text is quick. CASE,
    # because of AND and OR DuckDB works out all parts for all rows.
    written = quote(key_text(key))
    return (
        f"(coalesce({top}, false) OR CASE WHEN contains(line_items, {written}) THEN "
        f"len(list_filter(json_extract(line_items, '$[*]'), lambda item: coalesce({item}, false))) > 0 ELSE false END)"
    )


def held(key: str) -> str:
    """A list of what an event holds under a key, at the top level and in its line items: {number, text}, one NULL."""
    top, item = (
        f"{{'number': {number}, 'text': {text}}}"
        for number, text in (TYPED.get(key) or _json_value("data", key), _json_value("item", key))
    )
    items = "coalesce(json_extract(line_items, '$[*]'), [])"
    return (
        f"list_filter([{top}] || list_transform({items}, lambda item: {item}), lambda one: {_known('one')})"
    )


def _known(value: str) -> str:
    return f"{value}.number IS NOT NULL OR {value}.text IS NOT NULL"


def _json_value(of: str, key: str) -> tuple[str, str]:
    """The expressions of a JSON object's value, as a number and as a text: whichever it is not is NULL."""
    pointer = quote("/" + key.replace("~", "~0").replace("/", "~1"))
    kind = f"json_type({of}, {pointer})"
    return (
        f"CASE WHEN {kind} <> 'VARCHAR' THEN CAST(json_extract({of}, {pointer}) AS DOUBLE) END",
        f"CASE WHEN {kind} = 'VARCHAR' THEN json_extract_string({of}, {pointer}) END",
    )


def _value(number: str, text: str, tests: Sequence[tuple[str, Operand]]) -> str:
    number, text = f"({number})", f"({text})"
    if not tests:
        return f"({number} IS NOT NULL OR {text} IS NOT NULL)"
    return " AND ".join(_test(number, text, operator, operand) for operator, operand in tests)


def _test(number: str, text: str, operator: str, operand: Operand) -> str:
    if operator == "contains":
        part = quote(str(operand))
        digits = as_text(number)
        could = not set(str(operand)) - set("0123456789.e+-")
        return f"contains(coalesce({text}, {digits}), {part})" if could else f"contains({text}, {part})"
    if operator not in ("=", "in"):
        return f"{number} {operator} {_literal(operand)}"
    values = operand if isinstance(operand, tuple) else (operand,)
    numbers = [value for value in values if not isinstance(value, str)]
    texts = [value for value in values if isinstance(value, str)]
    return _any(
        [
            *([_one_of(number, numbers)] if numbers else []),
            *([_one_of(text, texts)] if texts else []),
        ]
    )


EMAIL = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"
HELD = ("visitor", *TEXTS, "data", "line_items")  # the fields in which somebody may have put an e-mail address


def content(since: int) -> str:
    """One row of counts over `archived` from a stream id's milliseconds on, as health.Content has them.

    events, unasked, checkouts, without_value, without_currency, without_order, repeated_orders, late, of_pages, and
    a list of how many hold an e-mail address in each field of HELD.
    """

    def count(condition: str) -> str:
        return f"count(*) FILTER (WHERE {condition})"

    checkout = "event = 'checkout'"
    order = "coalesce(order_id, CAST(order_id_number AS VARCHAR))"
    emails = ", ".join(count(f"regexp_matches({field}, {quote(EMAIL)})") for field in HELD)
    counts = (
        "count(*)",
        count("verdict = 'full' AND consent = 'regime'"),
        count(checkout),
        count(f"{checkout} AND value IS NULL"),
        count(f"{checkout} AND currency IS NULL"),
        count(f"{checkout} AND {order} IS NULL"),
        "(SELECT count(*) FROM repeated)",
        count(f"source = 'web' AND received_at - event_time * 1000 >= {DAY * 1000}"),
        count("source = 'web'"),
        f"[{emails}]",
    )
    return f"""
        WITH newest AS (SELECT * FROM archived WHERE sid_ms >= {since}),
        repeated AS (
            SELECT 1 FROM newest WHERE {checkout} AND {order} IS NOT NULL GROUP BY {order} HAVING count(*) > 1)
        SELECT {", ".join(counts)} FROM newest"""  # noqa: S608 (the values are the program's own)


def as_text(number: str) -> str:
    """A number's text: its digits where it is whole and exact, else its shortest form, as in Python."""
    return (
        f"CASE WHEN abs({number}) < 1e15 AND {number} = trunc({number}) "
        f"THEN CAST(CAST({number} AS BIGINT) AS VARCHAR) ELSE CAST({number} AS VARCHAR) END"
    )


def _one_of(expression: str, values: Sequence[Scalar]) -> str:
    if len(values) == 1:
        return f"{expression} = {_literal(values[0])}"
    return f"{expression} IN ({', '.join(map(_literal, values))})"


def _literal(value: Operand) -> str:
    if isinstance(value, str):
        return quote(value)
    return f"CAST({quote(repr(value))} AS DOUBLE)"  # a bare literal would be a DECIMAL


def quote(text: str) -> str:
    """A text as a literal."""
    return "'" + text.replace("'", "''") + "'"
