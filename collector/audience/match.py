"""Rules live: which leaves an event matches, by look-ups that were prepared once for each kind of event."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Protocol, cast

import re2

from collector.audience.rules import Filter, Leaf, Operand, compile_regex
from collector.event import Scalar


class Visit(Protocol):
    """What a leaf looks at in an event."""

    @property
    def tag(self) -> str: ...
    @property
    def event(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def data(self) -> dict[str, Scalar]: ...
    @property
    def line_items(self) -> list[dict[str, Scalar]]: ...


Check = Callable[[Visit], bool]
UrlTest = Callable[[str], bool]
ValueTest = Callable[[Scalar], bool]
_Found = tuple[int, tuple[UrlTest, ...]]  # a leaf's place, and what its URL must still pass
_Band = tuple[int, float, float]  # a leaf's place, and the lowest and the highest value that it takes

FIRST = ("=", "starts_with", "contains", "matches", "!=", "not_contains")  # the surest finders first
PATTERNS: dict[str, Callable[[str], str]] = {
    "starts_with": lambda text: f"^{re2.escape(text)}",
    "contains": lambda text: str(re2.escape(text)),
    "matches": lambda text: text,
}
MOST_URLS = 8_192  # remembered for each kind of event, a few hundred bytes each
SET_MEMORY = 32 << 20  # bytes that one set of URL regexes may use
MOST_BANDS = 64  # leaves that compare one key with bounds; their table grows with the square of them


class Matcher:
    """Matches events against the leaves of their tag. Neither verdict nor marks are looked at."""

    def __init__(self, leaves: Mapping[str, Sequence[Leaf]]) -> None:
        self._leaves = leaves
        self._named = {(tag, name) for tag, some in leaves.items() for leaf in some for name in leaf.events}
        self._plans: dict[tuple[str, str, str], _Plan] = {}

    def match(self, event: Visit) -> Sequence[int]:
        """The places in `leaves[event.tag]` of the leaves that the event matches: each once, in no order."""
        plan = self._plans.get((event.tag, event.event, event.source)) or self._plan(event)
        step = plan.by_url.get(event.url) or plan.step(event.url)
        return step.match(event) if step.undecided else step.sure

    def _plan(self, event: Visit) -> "_Plan":
        # Names that no leaf asks for share one plan, so that a site's endless names take no memory.
        name = event.event if (event.tag, event.event) in self._named else ""
        key = (event.tag, name, event.source)
        plan = self._plans.get(key)
        if not plan:
            plan = self._plans[key] = _Plan(
                (place, leaf)
                for place, leaf in enumerate(self._leaves.get(event.tag, ()))
                if (not leaf.events or name in leaf.events) and leaf.source in (None, event.source)
            )
        return plan


class _Plan:
    """The leaves that fit a tag, a name and a source; by_url remembers which of them are left at a URL."""

    def __init__(self, leaves: Iterable[tuple[int, Leaf]]) -> None:
        self.by_url: dict[str, _Step] = {}
        self._steps: dict[tuple[int, ...], _Step] = {}
        self._leaves = dict(leaves)
        self._always = [place for place, leaf in self._leaves.items() if not leaf.url]
        # Each leaf with a URL is found by one of its tests; the others are then asked one by one.
        self._equal: dict[str, list[_Found]] = {}
        self._negative: list[_Found] = []
        patterns: dict[str, list[_Found]] = {}
        for place, leaf in self._leaves.items():
            tests = sorted(leaf.url, key=lambda test: FIRST.index(test[0]))
            for operator, text in tests[:1]:
                if operator == "=":
                    self._equal.setdefault(text, []).append((place, _url_tests(tests[1:])))
                elif operator in PATTERNS:
                    patterns.setdefault(PATTERNS[operator](text), []).append((place, _url_tests(tests[1:])))
                else:
                    self._negative.append((place, _url_tests(tests)))
        self._set = _Set(patterns)

    def step(self, url: str) -> "_Step":
        places = self._always
        if url:
            found = [*self._equal.get(url, ()), *self._set.match(url), *self._negative]
            places = places + [place for place, tests in found if all(test(url) for test in tests)]
        if len(self.by_url) >= MOST_URLS:
            self.by_url.clear()
            self._steps.clear()
        key = tuple(places)
        step = self._steps.get(key)
        if not step:
            step = self._steps[key] = _Step([(place, self._leaves[place].data) for place in places])
        self.by_url[url] = step
        return step


class _Set:
    """All URL patterns in one pass.

    A set that runs out of memory finds nothing and says nothing. So its first pattern is one that always
    matches; where it does not, the patterns are tried one by one.
    """

    def __init__(self, patterns: Mapping[str, list[_Found]]) -> None:
        self._patterns = list(patterns.items())
        options = re2.Options()
        options.max_mem = SET_MEMORY
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        for pattern in ("", *patterns):
            self._set.Add(pattern)
        try:
            self._set.Compile()
        except re2.error:
            self._set = None

    def match(self, url: str) -> list[_Found]:
        if not self._patterns:
            return []
        hits = (self._set and self._set.Match(url)) or ()
        if 0 not in hits:
            hits = [
                at for at, (pattern, _) in enumerate(self._patterns, 1) if compile_regex(pattern).search(url)
            ]
        return [found for hit in hits if hit for found in self._patterns[hit - 1][1]]


class _Step:
    """What event data decides: equalities are looked up by value, what is left is asked one by one."""

    def __init__(self, leaves: Sequence[tuple[int, tuple[Filter, ...]]]) -> None:
        self.sure = tuple(place for place, filters in leaves if not filters)
        self._others: list[tuple[int, Check]] = []
        fields: dict[str, dict[Scalar, list[tuple[int, Check | None]]]] = {}
        bands: dict[str, list[_Band]] = {}
        for place, filters in leaves:
            if not filters:
                continue
            equality = next(filter(None, map(_equality, filters)), None)
            if not equality:
                key, bounds = filters[0].key, _bounds(filters)
                if bounds and len(bands.setdefault(key, [])) < MOST_BANDS:
                    bands[key].append((place, *_between(bounds)))
                else:
                    self._others.append((place, _every(list(map(_check, filters)))))
                continue
            by, values = equality
            # A filter that is nothing but the equality needs no second look.
            checks = [_check(some) for some in filters if some is not by or len(some.tests) > 1]
            for value in values:
                found = fields.setdefault(by.key, {}).setdefault(value, [])
                found.append((place, _every(checks) if checks else None))
        self._fields = list(fields.items())
        self._bands = [(key, *_table(some)) for key, some in bands.items() if some]
        self.undecided = bool(self._fields or self._bands or self._others)

    def match(self, event: Visit) -> Sequence[int]:
        data = event.data
        found = [*self.sure]
        for key, by_value in self._fields:
            if key in data:
                for place, check in by_value.get(data[key], ()):
                    if not check or check(event):
                        found.append(place)
            for item in event.line_items:
                if key in item:
                    for place, check in by_value.get(item[key], ()):
                        if place not in found and (not check or check(event)):
                            found.append(place)
        for key, starts, places in self._bands:
            if key in data:
                value = data[key]
                if not isinstance(value, str):
                    found += places[bisect_right(starts, value)]
            for item in event.line_items:
                if key in item:
                    value = item[key]
                    if not isinstance(value, str):
                        found += [some for some in places[bisect_right(starts, value)] if some not in found]
        for place, other in self._others:
            if other(event):
                found.append(place)
        return found


def _table(bands: Sequence[_Band]) -> tuple[list[float], list[tuple[int, ...]]]:
    """(where a band starts or has just ended, in order; the places whose band holds a value before, between, after)."""
    starts = sorted({edge for _, low, high in bands for edge in (low, math.nextafter(high, math.inf))})
    return starts, [
        tuple(place for place, low, high in bands if low <= start <= high) for start in (-math.inf, *starts)
    ]


def _every(checks: Sequence[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]
    return lambda event: all(check(event) for check in checks)


def _url_tests(tests: Iterable[tuple[str, str]]) -> tuple[UrlTest, ...]:
    return tuple(_url_test(operator, text) for operator, text in tests)


def _url_test(operator: str, text: str) -> UrlTest:
    match operator:
        case "!=":
            return lambda url: url != text
        case "contains":
            return lambda url: text in url
        case "not_contains":
            return lambda url: text not in url
        case "starts_with":
            return lambda url: url.startswith(text)
        case "matches":
            search = compile_regex(text).search
            return lambda url: search(url) is not None
    return lambda url: url == text


def _equality(filter: Filter) -> tuple[Filter, tuple[Scalar, ...]] | None:
    for operator, operand in filter.tests:
        if operator in ("=", "in"):
            return filter, operand if isinstance(operand, tuple) else (operand,)
    return None


def _bounds(filters: Sequence[Filter]) -> list[tuple[str, Operand]]:
    """The comparisons, where a leaf asks for nothing else than one key's."""
    only = len(filters) == 1 and all(operator in ORDERS for operator, _ in filters[0].tests)
    return list(filters[0].tests) if only else []


def _check(filter: Filter) -> Check:
    key = filter.key
    wanted = [_test(*test) for test in filter.tests if test[0] not in ("!=", *ORDERS)]
    if bounds := [(operator, operand) for operator, operand in filter.tests if operator in ORDERS]:
        low, high = _between(bounds)
        wanted.append(lambda value: not isinstance(value, str) and low <= value <= high)
    unwanted = [operand for operator, operand in filter.tests if operator == "!="]
    passes = reduce(_both, wanted) if wanted else _present

    def some(event: Visit) -> bool:
        value = event.data.get(key)
        if value is not None and passes(value):
            return True
        for item in event.line_items:
            value = item.get(key)
            if value is not None and passes(value):
                return True
        return False

    def none(event: Visit) -> bool:
        values = [event.data[key]] if key in event.data else []
        values += [item[key] for item in event.line_items if key in item]
        return bool(values) and not any(value in unwanted for value in values)

    return (lambda event: none(event) and some(event)) if unwanted else some


def _both(one: ValueTest, other: ValueTest) -> ValueTest:
    return lambda value: one(value) and other(value)


def _present(value: Scalar) -> bool:
    return True


def _test(operator: str, operand: Operand) -> ValueTest:
    match operator, operand:
        case "in", tuple():
            chosen = frozenset(operand)
            return lambda value: value in chosen
        case "contains", str():
            return lambda value: operand in (value if isinstance(value, str) else str(value))
    return lambda value: value == operand


ORDERS = (">", ">=", "<", "<=")


def _between(bounds: Iterable[tuple[str, Operand]]) -> tuple[float, float]:
    """All comparisons of a filter as one, both ends included. Past a bound means from the next double on."""
    low, high = -math.inf, math.inf
    for operator, operand in bounds:
        bound = float(cast(float, operand))  # rules.py takes numbers only
        match operator:
            case ">":
                low = max(low, math.nextafter(bound, math.inf))
            case ">=":
                low = max(low, bound)
            case "<":
                high = min(high, math.nextafter(bound, -math.inf))
            case "<=":
                high = min(high, bound)
    return low, high
