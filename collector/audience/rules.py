"""The rule language: a rule as its user wrote it → frozen conditions, leaves and windows. Pure."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, cast, get_args

import re2

from collector.event import Scalar, Source, canonical_name, scalar
from collector.worded import Worded

Role = Literal["main", "all", "any", "exclude"]
Operand = Scalar | tuple[Scalar, ...]

DEFAULT_DAYS = 180
LONGEST_DAYS = 540
MOST_COUNT = 20  # a column keeps the k latest times, 4 bytes each
MOST_CONDITIONS = 50
MOST_VALUES = 1_000
LONGEST_TEXT = 2_048
LONGEST_REGEX = 1_000
REGEX_MEMORY = 1 << 20  # bytes; DuckDB gives each regex 8 MiB, so what compiles here compiles there

URL_OPERATORS = ("=", "!=", "contains", "not_contains", "starts_with", "matches")
DATA_OPERATORS = ("=", "!=", "in", ">", ">=", "<", "<=", "contains")
LEAF_KEYS = ("event", "url", "event_data", "event_source", "min_count")
CONDITION_KEYS = (*LEAF_KEYS, "retention_days")
LISTS = ("all", "any", "exclude")


class RuleError(Worded, ValueError):
    """A rule cannot be taken: `field` is where (exclude[0].url.matches), `message` why, and the mend."""

    def __init__(self, field: str, text: str, **values: object) -> None:
        super().__init__(text, **values)
        self.field = field

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True)
class Filter:
    """What one key of event data must satisfy: all the tests at once, by one value; `!=` by every value."""

    key: str
    tests: tuple[tuple[str, Operand], ...]


@dataclass(frozen=True)
class Leaf:
    """A condition without its window. Equal leaves share one column, whatever audience they come from.

    Names, operators, keys and values are sorted, so that equal meanings written in another order are equal.
    """

    events: tuple[str, ...] = ()  # () is any
    url: tuple[tuple[str, str], ...] = ()
    data: tuple[Filter, ...] = ()
    source: Source | None = None
    count: int = 1

    @cached_property
    def form(self) -> str:
        """The canonical JSON: a condition in the rule language, which leaf_of() reads back."""
        form: dict[str, Any] = {}
        if self.events:
            form["event"] = self.events
        if self.url:
            form["url"] = dict(self.url)
        if self.data:
            form["event_data"] = {filter.key: dict(filter.tests) for filter in self.data}
        if self.source:
            form["event_source"] = self.source
        if self.count > 1:
            form["min_count"] = self.count
        return json.dumps(form, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @cached_property
    def id(self) -> str:
        """16 hex digits that name the leaf in keys: of the SHA-256 of its form."""
        return hashlib.sha256(self.form.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Condition:
    leaf: Leaf
    retention_days: int | None = None  # None: not written, follows the main condition
    since: bool = False  # excluded only if it came at or after the last match of the main condition


class Window(NamedTuple):
    """One condition at work: its place in the rule, and the days that count."""

    role: Role
    leaf: Leaf
    days: int
    since: bool


@dataclass(frozen=True)
class Rule:
    main: Condition | None
    all: tuple[Condition, ...]
    any: tuple[Condition, ...]
    exclude: tuple[Condition, ...]
    prefill: bool
    written: str = field(compare=False, repr=False)  # the user's JSON

    def _conditions(self) -> Iterator[tuple[Role, Condition]]:
        if self.main:
            yield "main", self.main
        for role in LISTS:
            for condition in cast(tuple[Condition, ...], getattr(self, role)):
                yield cast(Role, role), condition

    def leaves(self) -> tuple[Leaf, ...]:
        """The distinct leaves, in the order of the rule: main, all, any, exclude."""
        return tuple(dict.fromkeys(condition.leaf for _, condition in self._conditions()))

    def windows(self, lookback_days: int | None = None) -> tuple[Window, ...]:
        """Every condition with its effective days, in the order of the rule.

        lookback_days takes the place of the main condition's days, and of those that were not written.
        Raises RuleError when it is out of 1..540, or the rule has no main condition that it could stretch.
        """
        if lookback_days is not None:
            if not self.main:
                raise RuleError(
                    "lookback_days",
                    "this rule has no main condition whose window could change. "
                    "Mend: leave lookback_days out, or put a condition at the top level of the rule.",
                )
            days = _whole(lookback_days, "lookback_days", LONGEST_DAYS)
        else:
            days = (self.main and self.main.retention_days) or DEFAULT_DAYS
        return tuple(
            Window(role, at.leaf, days if role == "main" else at.retention_days or days, at.since)
            for role, at in self._conditions()
        )


def parse(written: object) -> Rule:
    """The rule of a user's decoded JSON. Raises RuleError on the first thing that cannot be taken."""
    rule = _object(written, "rule", (*CONDITION_KEYS, *LISTS, "prefill"))
    prefill = rule.get("prefill", True)
    if not isinstance(prefill, bool):
        raise RuleError("prefill", "must be true (past events count; the default) or false.")
    main = {key: rule[key] for key in CONDITION_KEYS if key in rule}
    parsed = Rule(
        main=_condition(main, "") if main else None,
        all=_conditions(rule, "all"),
        any=_conditions(rule, "any"),
        exclude=_conditions(rule, "exclude"),
        prefill=prefill,
        written=json.dumps(rule, ensure_ascii=False),
    )
    if not (main or parsed.all or parsed.any):
        if parsed.exclude:
            raise RuleError(
                "rule",
                "it only excludes, so there is nobody to exclude from. "
                'Mend: say whom to take, such as "event": "addtocart", or "retention_days": 180 for any event.',
            )
        raise RuleError(
            "rule",
            "it is empty. "
            'Mend: say whom to take, such as "event": "addtocart", or "retention_days": 180 for any event.',
        )
    for place, condition in enumerate(parsed.exclude):
        if condition.since and not main:
            raise RuleError(
                f"exclude[{place}].since",
                "the rule has no main condition whose last match could be compared. "
                "Mend: move a condition from all or any to the top level of the rule, or leave since out.",
            )
    return parsed


def to_json(rule: Rule) -> dict[str, Any]:
    """The rule as its user wrote it; parse() makes an equal rule of it."""
    return cast(dict[str, Any], json.loads(rule.written))


def leaf_of(form: str) -> Leaf:
    """The leaf of a canonical form."""
    return _leaf(json.loads(form), "")


def _conditions(rule: Mapping[str, object], role: str) -> tuple[Condition, ...]:
    items = rule.get(role, [])
    if not isinstance(items, list) or len(items) > MOST_CONDITIONS:
        raise RuleError(role, "must be a list of up to %(most)s conditions.", most=MOST_CONDITIONS)
    since = role == "exclude"
    return tuple(_condition(item, f"{role}[{place}]", since=since) for place, item in enumerate(items))


def _condition(written: object, at: str, *, since: bool = False) -> Condition:
    condition = _object(written, at, (*CONDITION_KEYS, *(("since",) if since else ())))
    if condition.get("since", "match") != "match":
        raise RuleError(_in(at, "since"), 'takes only "match".')
    return Condition(
        _leaf({key: value for key, value in condition.items() if key in LEAF_KEYS}, at),
        _whole(condition["retention_days"], _in(at, "retention_days"), LONGEST_DAYS)
        if "retention_days" in condition
        else None,
        "since" in condition,
    )


def _leaf(written: Mapping[str, object], at: str) -> Leaf:
    leaf: dict[str, Any] = {}
    if "event" in written:
        leaf["events"] = _events(written["event"], _in(at, "event"))
    if "url" in written:
        leaf["url"] = _url(written["url"], _in(at, "url"))
    if "event_data" in written:
        leaf["data"] = _data(written["event_data"], _in(at, "event_data"))
    if "event_source" in written:
        leaf["source"] = written["event_source"]
        if leaf["source"] not in get_args(Source):
            raise RuleError(
                _in(at, "event_source"), "must be one of %(these)s.", these=", ".join(get_args(Source))
            )
    if "min_count" in written:
        leaf["count"] = _whole(written["min_count"], _in(at, "min_count"), MOST_COUNT)
    return Leaf(**leaf)


def _events(written: object, at: str) -> tuple[str, ...]:
    names = written if isinstance(written, list) else [written]
    if not 0 < len(names) <= MOST_VALUES:
        raise RuleError(
            at, "must name 1 to %(most)s events. Mend: leave it out for any event.", most=MOST_VALUES
        )
    canonical = {canonical_name(_text(name, at)) for name in names}
    if "" in canonical:
        raise RuleError(at, "is blank. Mend: leave it out for any event.")
    return tuple(sorted(canonical))


def _url(written: object, at: str) -> tuple[tuple[str, str], ...]:
    if isinstance(written, str):
        written = {"=": written}
    tests = _object(written, at, URL_OPERATORS, some=True)
    url = tuple((operator, _text(tests[operator], _in(at, operator))) for operator in sorted(tests))
    if "matches" in tests:
        _check_regex(dict(url)["matches"], _in(at, "matches"))
    return url


def _check_regex(pattern: str, at: str) -> None:
    if len(pattern) > LONGEST_REGEX:
        raise RuleError(
            at,
            "is over %(most)s characters. Mend: use contains or starts_with, or split it.",
            most=LONGEST_REGEX,
        )
    try:
        compile_regex(pattern)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise RuleError(
            at,
            "is no RE2 pattern (%(reason)s). Mend: RE2 has no look-around and no back-references.",
            reason=reason,
        ) from None


def compile_regex(pattern: str) -> Any:
    """The compiled RE2 of a rule's pattern; `.search(text)` finds it anywhere. Raises re2.error."""
    options = re2.Options()
    options.max_mem = REGEX_MEMORY
    options.log_errors = False
    return re2.compile(pattern, options)


def _data(written: object, at: str) -> tuple[Filter, ...]:
    filters = _object(written, at, some=True)
    if "line_items" in filters:
        raise RuleError(
            _in(at, "line_items"), "is a list. Mend: name a field of the items, such as product_id."
        )
    return tuple(
        Filter(_text(key, at, empty=True), _tests(filters[key], _in(at, key))) for key in sorted(filters)
    )


def _tests(written: object, at: str) -> tuple[tuple[str, Operand], ...]:
    if not isinstance(written, dict):
        written = {"=": written}
    tests = _object(written, at, DATA_OPERATORS, some=True)
    return tuple(
        (operator, OPERANDS.get(operator, _value)(tests[operator], _in(at, operator)))
        for operator in sorted(tests)
    )


def _value(written: object, at: str) -> Scalar:
    value = scalar(written)
    if isinstance(written, list):
        raise RuleError(at, 'must be a text, a number, true or false. Mend: use {"in": […]} for several.')
    if value is None:
        raise RuleError(at, "must be a text, a number, true or false.")
    return _text(value, at, empty=True) if isinstance(value, str) else value


def _values(written: object, at: str) -> tuple[Scalar, ...]:
    if not isinstance(written, list) or not 0 < len(written) <= MOST_VALUES:
        raise RuleError(at, "must be a list of 1 to %(most)s values.", most=MOST_VALUES)
    values = {_value(value, at) for value in written}
    return tuple(sorted(values, key=lambda value: (isinstance(value, str), value)))


def _number(written: object, at: str) -> Scalar:
    value = _value(written, at)
    if isinstance(value, str):
        raise RuleError(at, "compares numbers only. Mend: write a number, such as 49.9.")
    return value


def _part(written: object, at: str) -> Scalar:
    """What `contains` looks for is text as it was written: «12.50» is not 12.5 here."""
    return _text(written if isinstance(written, str) else str(_value(written, at)), at)


OPERANDS: dict[str, Callable[[object, str], Operand]] = {
    "in": _values,
    "contains": _part,
    **dict.fromkeys((">", ">=", "<", "<="), _number),
}


def _object(written: object, at: str, keys: tuple[str, ...] = (), *, some: bool = False) -> dict[str, object]:
    if some and not (isinstance(written, dict) and written):
        raise RuleError(at, "must be an object with at least one key.")
    if not isinstance(written, dict):
        raise RuleError(at, "must be an object.")
    for key in written if keys else ():
        if key not in keys:
            place = _in("" if at == "rule" else at, key)
            raise RuleError(place, "is unknown here. Mend: use %(keys)s.", keys=", ".join(keys))
    return written


def _text(written: object, at: str, *, empty: bool = False) -> str:
    if not isinstance(written, str) or not (empty or written) or len(written) > LONGEST_TEXT:
        least = 0 if empty else 1
        raise RuleError(at, "must be a text of %(least)s to %(most)s characters.", least=least, most=LONGEST_TEXT)
    if "\0" in written or any("\ud800" <= letter <= "\udfff" for letter in written):
        raise RuleError(at, "holds a NUL or half a surrogate pair, which no event can hold.")
    return written


def _whole(written: object, at: str, most: int) -> int:
    if not isinstance(written, int) or isinstance(written, bool) or not 1 <= written <= most:
        raise RuleError(at, "must be a whole number from 1 to %(most)s.", most=most)
    return written


def _in(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key
